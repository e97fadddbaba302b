#include "ops/cpu/moe_kernels.h"

#include "kernels/kernel_values.h"

namespace xinslm::test {
namespace {

constexpr int64_t rows = 3;

struct Activation {
  double value, by_gate, by_linear;
};

/// gpt-oss' SwiGLU with a limit, the plain one without (limit 0).
Activation activation(double gate, double linear, double limit) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  if (limit == 0) {
    const double s = sigmoid(gate);
    return {gate * s * linear, linear * (s + gate * s * (1 - s)), gate * s};
  }
  constexpr double slope = 1.702f;
  const double g = std::min(gate, limit), l = std::clamp(linear, -limit, limit), s = sigmoid(slope * g);
  return {g * s * (l + 1), gate > limit ? 0 : (l + 1) * (s + slope * g * s * (1 - s)),
          std::abs(linear) > limit ? 0 : g * s};
}

void check_swiglu(Element e, int64_t width, double limit, bool biased, std::mt19937& random, Checks& checks) {
  const Values gate_up = random_values(e, rows * 2 * width, random, 2);
  const Values bias = random_values(element_float32, 2 * width, random),
               grad_act = random_values(e, rows * width, random);
  const Values weights = random_values(element_float32, rows, random);
  Values act(e, rows * width), weighted(e, rows * width), grad_gate_up(e, rows * 2 * width);
  Values grad_weights(element_float32, rows), grad_bias = random_values(element_float32, 2 * width, random);
  Doubles acts, weighted_acts, grads, by_weight(rows), by_bias = grad_bias.numbers();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = row * 2 * width + 2 * i;
      const Activation a =
          activation(gate_up[at] + (biased ? bias[2 * i] : 0), gate_up[at + 1] + (biased ? bias[2 * i + 1] : 0), limit);
      const double grad = grad_act[row * width + i];
      acts.push_back(a.value);
      weighted_acts.push_back(a.value * weights[row]);
      by_weight[row] += grad * a.value;
      grads.push_back(grad * weights[row] * a.by_gate);
      grads.push_back(grad * weights[row] * a.by_linear);
      by_bias[i] += grads[grads.size() - 2];
      by_bias[width + i] += grads.back();
    }
  }
  const float* shift = biased ? bias.floats() : nullptr;
  const std::string what = at_size(biased ? "swiglu with bias" : "swiglu", rows, width);
  moe_kernels().swiglu[e](gate_up.data(), shift, limit, act.data(), rows, width);
  checks.near(act, acts, what);
  moe_kernels().swiglu_backward[e](gate_up.data(), shift, limit, weights.floats(), grad_act.data(), weighted.data(),
                                   grad_gate_up.data(), grad_weights.floats(), grad_bias.floats(), rows, width);
  checks.near(weighted, weighted_acts, what + ", weighted");
  checks.near(grad_gate_up, grads, what + ", grad_gate_up");
  checks.near(grad_weights, by_weight, what + ", grad_weights", 1e-5);
  checks.near(grad_bias, by_bias, what + ", grad_bias");

  moe_kernels().swiglu_backward[e](gate_up.data(), shift, limit, nullptr, grad_act.data(), nullptr, grad_gate_up.data(),
                                   nullptr, nullptr, rows, width);
  for (size_t i = 0; i < grads.size(); ++i) grads[i] /= weights[static_cast<int64_t>(i) / (2 * width)];
  checks.near(grad_gate_up, grads, what + ", grad_gate_up without weights");
}

void check_gather_grad(Element e, int64_t width, bool biased, std::mt19937& random, Checks& checks) {
  const int64_t tokens[rows] = {4, 0, 4};
  const Values grad = random_values(e, 5 * width, random), bias = random_values(element_float32, width, random);
  const Values weights = random_values(element_float32, rows, random);
  Values gathered(e, rows * width), grad_weights(element_float32, rows);
  Values grad_bias = random_values(element_float32, width, random);
  Doubles picked, by_weight(rows), by_bias = grad_bias.numbers();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      picked.push_back(grad[tokens[row] * width + i]);
      if (!biased) continue;
      by_weight[row] += picked.back() * bias[i];
      by_bias[i] += picked.back() * weights[row];
    }
  }
  moe_kernels().gather_grad[e](grad.data(), tokens, weights.floats(), biased ? bias.floats() : nullptr, gathered.data(),
                               grad_weights.floats(), grad_bias.floats(), rows, width);
  const std::string what = at_size("gather_grad", rows, width);
  checks.near(gathered, picked, what);
  checks.near(grad_weights, by_weight, what + ", grad_weights", 1e-5);
  checks.near(grad_bias, by_bias, what + ", grad_bias");
}

void check_combine(Element e, int64_t width, bool weighted, bool biased, std::mt19937& random, Checks& checks) {
  constexpr int64_t k = 3, experts[k] = {1, 0, 2}, places[k] = {4, 2, 0};
  const Values y = random_values(e, 5 * width, random), bias = random_values(element_float32, 3 * width, random);
  const Values weights = random_values(element_float32, k, random);
  Values scratch(element_float32, width), out(e, width);
  Doubles expected(static_cast<size_t>(width));
  for (int64_t j = 0; j < k; ++j) {
    for (int64_t i = 0; i < width; ++i) {
      const double shifted = y[places[j] * width + i] + (biased ? bias[experts[j] * width + i] : 0);
      expected[i] += shifted * (weighted ? weights[j] : 1);
    }
  }
  moe_kernels().combine[e](y.data(), places, weighted ? weights.floats() : nullptr, experts,
                           biased ? bias.floats() : nullptr, k, width, scratch.floats(), out.data());
  checks.near(out, expected, at_size("combine", k, width));
}

}  // namespace

void check_moe_kernels(Checks& checks) {
  std::mt19937 random(5);
  for (const Element e : all_elements) {
    for (const int64_t width : {1, 3, 4, 7, 64, 67}) {
      for (const bool biased : {false, true}) {
        for (const double limit : {0.0, 1.5, 7.0}) check_swiglu(e, width, limit, biased, random, checks);
        for (const bool weighted : {false, true}) check_combine(e, width, weighted, biased, random, checks);
        check_gather_grad(e, width, biased, random, checks);
      }
    }
  }
}

}  // namespace xinslm::test
