#include "ops/cpu/training_kernels.h"

#include "kernels/kernel_values.h"

namespace xinslm::test {
namespace {

void check_cross_entropy(Element e, int64_t vocabulary, float smoothing, float softcap, std::mt19937& random,
                         Checks& checks) {
  const Values logits = random_values(e, vocabulary, random, 3);
  const CrossEntropyRow row{vocabulary / 2, vocabulary, smoothing, softcap};
  Doubles capped, slopes, expected;
  double total = 0, mean = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    const double tanh = softcap > 0 ? std::tanh(logits[i] / softcap) : 0;
    capped.push_back(softcap > 0 ? softcap * tanh : logits[i]);
    slopes.push_back(1 - tanh * tanh);
    total += std::exp(capped.back());
    mean += capped.back() / static_cast<double>(vocabulary);
  }
  const double loss = std::log(total) - (1 - smoothing) * capped[row.target] - smoothing * mean;
  for (int64_t i = 0; i < vocabulary; ++i) {
    const double wanted = (i == row.target ? 1 - smoothing : 0) + smoothing / static_cast<double>(vocabulary);
    expected.push_back((std::exp(capped[i]) / total - wanted) * slopes[i]);
  }
  const CrossEntropyKernels& kernels = cross_entropy_kernels();
  const std::string what = at_size("cross-entropy", 1, vocabulary);
  checks.at_most(std::abs(kernels.loss[e](logits.data(), row) - loss), 1e-5 * (1 + std::abs(loss)), what);
  Values gradient(e, logits.numbers()), scratch(element_float32, vocabulary);
  checks.at_most(std::abs(kernels.loss_and_gradient[e](gradient.data(), row, scratch.floats()) - loss),
                 1e-5 * (1 + std::abs(loss)), what + " with gradient");
  checks.near(gradient, expected, what + ", its gradient", 1e-5);
}

void check_adamw(Element e, int64_t size, bool refresh, std::mt19937& random, Checks& checks) {
  const AdamWFactors f{0.7f, 0.9f, 0.1f, 0.95f, 0.05f, 0.999f, 0.01f, 4.0f, 1e-8f};
  const Values gradient = random_values(e, size, random);
  Values master = random_values(element_float32, size, random), first = random_values(element_float32, size, random);
  Values second = random_values(element_float32, size, random), compute(element_bfloat16, size);
  Doubles masters, firsts, seconds;
  for (int64_t i = 0; i < size; ++i) {
    second.set(i, std::abs(second[i]));
    const double g = gradient[i] * f.gradient_scale;
    firsts.push_back(first[i] * f.beta1 + g * f.rest1);
    seconds.push_back(second[i] * f.beta2 + g * g * f.rest2);
    const double step = firsts.back() / (std::sqrt(seconds.back() * f.second_scale) + f.eps);
    masters.push_back(master[i] * f.decay - f.step_size * step);
  }
  optimizer_kernels().adamw[e](master.floats(), gradient.data(), first.floats(), second.floats(),
                               refresh ? static_cast<uint16_t*>(compute.data()) : nullptr, size, f);
  const std::string what = at_size("adamw", 1, size);
  checks.near(master, masters, what + ", master");
  checks.near(first, firsts, what + ", first moment");
  checks.near(second, seconds, what + ", second moment");
  checks.near(compute, refresh ? masters : Doubles(masters.size()), what + ", compute copy");
}

void check_sum_of_squares(Element e, int64_t size, std::mt19937& random, Checks& checks) {
  const Values x = random_values(e, size, random);
  double expected = 0;
  for (int64_t i = 0; i < size; ++i) expected += x[i] * x[i];
  checks.at_most(std::abs(optimizer_kernels().sum_of_squares[e](x.data(), size) - expected), 2e-6 * expected,
                 at_size("sum_of_squares", 1, size));
}

}  // namespace

void check_training_kernels(Checks& checks) {
  std::mt19937 random(4);
  for (const Element e : all_elements) {
    for (const int64_t size : {2, 5, 64, 67, 1030}) {
      for (const float smoothing : {0.0f, 0.1f}) {
        for (const float softcap : {0.0f, 5.0f}) check_cross_entropy(e, size, smoothing, softcap, random, checks);
      }
      for (const bool refresh : {false, true}) check_adamw(e, size, refresh, random, checks);
      check_sum_of_squares(e, size, random, checks);
    }
  }
}

}  // namespace xinslm::test
