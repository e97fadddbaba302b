#include "ops/cpu/moe.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/moe_kernels.h"
#include "ops/cpu/parallel.h"

namespace xinslm::cpu {
namespace {

/// Calls body(part, begin, end) for parts of the rows, each row being `width` elements of work.
template <class Body>
void for_rows(int64_t rows, int64_t width, const Body& body) {
  for_parts(rows, count_parts(rows, rows_per_thread(width)), body);
}

void gather_rows(const at::Tensor& from, const int64_t* tokens, int64_t count, const at::Tensor& to) {
  const int64_t width = from.size(1), bytes = width * from.element_size();
  for_rows(count, width, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(bytes_of(to) + i * bytes, bytes_of(from) + tokens[i] * bytes, bytes);
  });
}

/// Rows that the products of an expert with `count` tokens take: oneDNN compiles a kernel for every new number of rows
/// (0.35 ms on Zen 5, and about a megabyte kept), and the counts change from step to step. Whole groups of rows meet
/// again.
constexpr int64_t row_group = 32;
int64_t product_rows(int64_t count, at::ScalarType type) {
  if (type != at::kBFloat16 || count < row_group) return count;
  return (count + row_group - 1) / row_group * row_group;
}

/// For rows beyond the tokens at the end of a buffer that products write to in the order of the experts: what one
/// expert's group of rows leaves behind its tokens, the next expert's rows overwrite.
constexpr int64_t spare_rows = row_group - 1;

/// The tensor's first `rows` rows, those from `count` on cleared so that they add nothing to a product over the rows.
at::Tensor cleared_behind(const at::Tensor& x, int64_t count, int64_t rows) {
  if (rows > count) x.narrow(0, count, rows - count).zero_();
  return x.narrow(0, 0, rows);
}

const float* bias_of(const at::Tensor& biases, int64_t expert) {
  return biases.defined() ? biases.const_data_ptr<float>() + expert * biases.size(1) : nullptr;
}

/// out[token] = sum of its choices' rows, weighted and shifted by the down bias where given, in the order of choice.
at::Tensor combine(const at::Tensor& y, const SortedChoices& sorted, const at::Tensor& weights,
                   const at::Tensor& chosen, const at::Tensor& bias) {
  const int64_t width = y.size(1), k = sorted.k, tokens = static_cast<int64_t>(sorted.places.size()) / k;
  const at::Tensor out = at::empty({tokens, width}, y.options());
  const auto kernel = moe_kernels().combine[element_of(y)];
  const float* factors = floats_or_null(weights);
  const int64_t* experts = chosen.const_data_ptr<int64_t>();
  for_rows(tokens, width, [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> scratch(width);
    for (int64_t token = begin; token < end; ++token) {
      kernel(bytes_of(y), sorted.places.data() + token * k, factors ? factors + token * k : nullptr,
             experts + token * k, floats_or_null(bias), k, width, scratch.data(), row_at(out, token, width));
    }
  });
  return out;
}

/// Memory for one expert's rows at a time, and the sums formed by part of its rows.
struct BackwardScratch {
  at::Tensor x, grad, grad_act, weighted_act, grad_gate_up;
  at::Tensor gate_up_bias, down_bias;  // [parts, E, 2I] (gates first), [parts, E, H]

  BackwardScratch(const MoeInput& input, int64_t largest_count) {
    const int64_t rows = largest_count + spare_rows;
    const int64_t hidden = input.x.size(1), width = input.experts.down.size(1), experts = input.experts.down.size(0);
    const auto options = input.x.options();
    x = at::empty({rows, hidden}, options);
    grad = at::empty({rows, hidden}, options);
    grad_act = at::empty({rows, width}, options);
    weighted_act = at::empty({rows, width}, options);
    grad_gate_up = at::empty({rows, 2 * width}, options);
    const int64_t parts = at::get_num_threads();
    if (input.experts.gate_up_bias.defined()) gate_up_bias = partial_sums(parts, experts * 2 * width);
    if (input.experts.down_bias.defined()) down_bias = partial_sums(parts, experts * hidden);
  }
};

/// Gradients of one expert; leaves the gradient of its rows of x in grad_rows.
void expert_backward(const MoeInput& input, const SortedChoices& sorted, int64_t expert, const at::Tensor& gate_up,
                     const at::Tensor& grad_out, const BackwardScratch& scratch, MoeGradients& gradients,
                     const at::Tensor& grad_rows, float* grad_weights) {
  const int64_t first = sorted.begin[expert], count = sorted.count(expert);
  const int64_t hidden = input.x.size(1), width = input.experts.down.size(1), experts = input.experts.down.size(0);
  const int64_t product = product_rows(count, input.x.scalar_type());
  const at::Tensor x = cleared_behind(scratch.x, count, product), grad = cleared_behind(scratch.grad, count, product);
  const at::Tensor weighted_act = cleared_behind(scratch.weighted_act, count, product);
  const at::Tensor grad_gate_up = cleared_behind(scratch.grad_gate_up, count, product);
  at::Tensor grad_act = scratch.grad_act.narrow(0, 0, product);
  const at::Tensor saved = gate_up.narrow(0, first, count);
  const int64_t* tokens = sorted.tokens.data() + first;
  const float* weights = sorted.weights.data() + first;
  const MoeKernels& kernels = moe_kernels();
  const Element element = element_of(x);

  gather_rows(input.x, tokens, count, x);
  const float* down_bias = bias_of(input.experts.down_bias, expert);
  for_rows(count, hidden, [&](int64_t part, int64_t begin, int64_t end) {
    float* sums =
        down_bias ? scratch.down_bias.mutable_data_ptr<float>() + (part * experts + expert) * hidden : nullptr;
    kernels.gather_grad[element](bytes_of(grad_out), tokens + begin, weights + begin, down_bias,
                                 row_at(grad, begin, hidden), grad_weights + first + begin, sums, end - begin, hidden);
  });
  at::mm_out(grad_act, grad, input.experts.down[expert].t());
  const float* gate_up_bias = bias_of(input.experts.gate_up_bias, expert);
  for_rows(count, 2 * width, [&](int64_t part, int64_t begin, int64_t end) {
    float* sums =
        gate_up_bias ? scratch.gate_up_bias.mutable_data_ptr<float>() + (part * experts + expert) * 2 * width : nullptr;
    kernels.swiglu_backward[element](row_at(saved, begin, 2 * width), gate_up_bias, input.swiglu_limit, weights + begin,
                                     row_at(grad_act, begin, width), row_at(weighted_act, begin, width),
                                     row_at(grad_gate_up, begin, 2 * width), grad_weights + first + begin, sums,
                                     end - begin, width);
  });
  at::Tensor grad_down = gradients.experts.down[expert], grad_up = gradients.experts.gate_up[expert];
  at::Tensor rows = grad_rows.narrow(0, first, product);
  at::mm_out(grad_down, weighted_act.t(), grad);
  at::mm_out(grad_up, x.t(), grad_gate_up);
  at::mm_out(rows, grad_gate_up, input.experts.gate_up[expert].t());
}

}  // namespace

SortedChoices::SortedChoices(const at::Tensor& chosen, const at::Tensor& routing_weights, int64_t experts)
    : k(chosen.size(1)), begin(experts + 1), tokens(chosen.numel()), places(chosen.numel()), weights(chosen.numel()) {
  const int64_t* expert = chosen.const_data_ptr<int64_t>();
  const float* weight = routing_weights.const_data_ptr<float>();
  const int64_t choices = chosen.numel();
  for (int64_t i = 0; i < choices; ++i) {
    require(expert[i] >= 0 && expert[i] < experts, "moe_experts: token ", i / k, " has chosen expert ", expert[i],
            " of ", experts);
    ++begin[expert[i] + 1];
  }
  for (int64_t e = 0; e < experts; ++e) begin[e + 1] += begin[e];
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t i = 0; i < choices; ++i) {
    const int64_t place = next[expert[i]]++;
    places[i] = place;
    tokens[place] = i / k;
    weights[place] = weight[i];
  }
}

int64_t SortedChoices::largest_count() const {
  int64_t largest = 0;
  for (size_t e = 0; e + 1 < begin.size(); ++e) largest = std::max(largest, begin[e + 1] - begin[e]);
  return largest;
}

MoeOutput moe_forward(const MoeInput& input, const SortedChoices& sorted) {
  const int64_t hidden = input.x.size(1), width = input.experts.down.size(1), experts = input.experts.down.size(0);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size()), largest = sorted.largest_count();
  const auto options = input.x.options();
  MoeOutput output;
  output.gate_up = at::empty({choices + spare_rows, 2 * width}, options);
  const at::Tensor y = at::empty({choices + spare_rows, hidden}, options);
  const at::Tensor all_x = at::empty({largest + spare_rows, hidden}, options);
  const at::Tensor all_act = at::empty({largest + spare_rows, width}, options);
  const auto swiglu = moe_kernels().swiglu[element_of(input.x)];
  for (int64_t expert = 0; expert < experts; ++expert) {
    const int64_t first = sorted.begin[expert], count = sorted.count(expert);
    if (count == 0) continue;
    const int64_t product = product_rows(count, input.x.scalar_type());
    const at::Tensor x = all_x.narrow(0, 0, product), act = all_act.narrow(0, 0, product);
    at::Tensor gate_up = output.gate_up.narrow(0, first, product), rows = y.narrow(0, first, product);
    gather_rows(input.x, sorted.tokens.data() + first, count, x);
    at::mm_out(gate_up, x, input.experts.gate_up[expert]);
    for_rows(count, 2 * width, [&](int64_t, int64_t begin, int64_t end) {
      swiglu(row_at(gate_up, begin, 2 * width), bias_of(input.experts.gate_up_bias, expert), input.swiglu_limit,
             row_at(act, begin, width), end - begin, width);
    });
    at::mm_out(rows, act, input.experts.down[expert]);
  }
  output.out = combine(y, sorted, input.weights, input.chosen, input.experts.down_bias);
  return output;
}

MoeGradients moe_backward(const MoeInput& input, const SortedChoices& sorted, const at::Tensor& gate_up,
                          const at::Tensor& grad_out) {
  const int64_t hidden = input.x.size(1), width = input.experts.down.size(1), experts = input.experts.down.size(0);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size());
  MoeGradients gradients;
  gradients.experts.gate_up = at::empty(input.experts.gate_up.sizes(), input.x.options());
  gradients.experts.down = at::empty(input.experts.down.sizes(), input.x.options());
  const BackwardScratch scratch(input, sorted.largest_count());
  const at::Tensor grad_rows = at::empty({choices + spare_rows, hidden}, input.x.options());
  std::vector<float> grad_weights(choices);
  for (int64_t expert = 0; expert < experts; ++expert) {
    if (sorted.count(expert) == 0) {
      gradients.experts.gate_up[expert].zero_();
      gradients.experts.down[expert].zero_();
      continue;
    }
    expert_backward(input, sorted, expert, gate_up, grad_out, scratch, gradients, grad_rows, grad_weights.data());
  }
  gradients.x = combine(grad_rows, sorted, {}, input.chosen, {});
  gradients.weights = at::empty(input.weights.sizes(), input.weights.options());
  float* to = gradients.weights.mutable_data_ptr<float>();
  for (int64_t i = 0; i < choices; ++i) to[i] = grad_weights[sorted.places[i]];
  if (scratch.gate_up_bias.defined()) {
    gradients.experts.gate_up_bias =
        add_parts(scratch.gate_up_bias).view({experts, 2, width}).transpose(1, 2).reshape({experts, 2 * width});
  }
  if (scratch.down_bias.defined()) gradients.experts.down_bias = add_parts(scratch.down_bias).view({experts, hidden});
  return gradients;
}

at::Tensor swiglu_forward(const at::Tensor& gate_up, double swiglu_limit) {
  const int64_t width = gate_up.size(-1) / 2, rows = gate_up.numel() / (2 * width);
  auto sizes = gate_up.sizes().vec();
  sizes.back() = width;
  const at::Tensor act = at::empty(sizes, gate_up.options());
  const auto kernel = moe_kernels().swiglu[element_of(gate_up)];
  for_rows(rows, 2 * width, [&](int64_t, int64_t begin, int64_t end) {
    kernel(row_at(gate_up, begin, 2 * width), nullptr, swiglu_limit, row_at(act, begin, width), end - begin, width);
  });
  return act;
}

at::Tensor swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad_act, double swiglu_limit) {
  const int64_t width = gate_up.size(-1) / 2, rows = gate_up.numel() / (2 * width);
  const at::Tensor grad = at::empty(gate_up.sizes(), gate_up.options());
  const auto kernel = moe_kernels().swiglu_backward[element_of(gate_up)];
  for_rows(rows, 2 * width, [&](int64_t, int64_t begin, int64_t end) {
    kernel(row_at(gate_up, begin, 2 * width), nullptr, swiglu_limit, nullptr, row_at(grad_act, begin, width), nullptr,
           row_at(grad, begin, 2 * width), nullptr, nullptr, end - begin, width);
  });
  return grad;
}

}  // namespace xinslm::cpu
