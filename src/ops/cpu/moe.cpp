#include "ops/cpu/moe.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/grouped_product.h"
#include "ops/cpu/moe_kernels.h"
#include "ops/cpu/parallel.h"

namespace xinslm::cpu {
namespace {

/// Calls body(part, begin, end) for parts of the rows, each row being `width` elements of work.
template <class Body>
void for_rows(int64_t rows, int64_t width, const Body& body) {
  for_parts(rows, count_parts(rows, rows_per_thread(width)), body);
}

/// x[tokens]: the rows of all choices, sorted by expert.
at::Tensor gather_rows(const at::Tensor& x, const std::vector<int64_t>& tokens) {
  const int64_t width = x.size(1), bytes = width * x.element_size();
  const at::Tensor rows = at::empty({static_cast<int64_t>(tokens.size()), width}, x.options());
  for_rows(rows.size(0), width, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(bytes_of(rows) + i * bytes, bytes_of(x) + tokens[static_cast<size_t>(i)] * bytes, bytes);
  });
  return rows;
}

const float* bias_of(const at::Tensor& biases, int64_t expert) {
  return biases.defined() ? biases.const_data_ptr<float>() + expert * biases.size(1) : nullptr;
}

/// Sums over rows of each expert, [parts, E, width] float32, or nothing where `bias` is undefined.
struct BiasSums {
  at::Tensor sums;
  int64_t experts, width;

  BiasSums(const at::Tensor& bias, int64_t experts, int64_t width) : experts(experts), width(width) {
    if (bias.defined()) sums = partial_sums(at::get_num_threads(), experts * width);
  }
  float* of(int64_t part, int64_t expert) const {
    return sums.defined() ? sums.mutable_data_ptr<float>() + (part * experts + expert) * width : nullptr;
  }
  at::Tensor total() const { return sums.defined() ? add_parts(sums).view({experts, width}) : at::Tensor(); }
};

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

MoeOutput moe_forward(const MoeInput& input, const SortedChoices& sorted) {
  const int64_t hidden = input.x.size(1), width = input.experts.down.size(1);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size());
  const auto options = input.x.options();
  MoeOutput output;
  output.gate_up = at::empty({choices, 2 * width}, options);
  grouped_product(gather_rows(input.x, sorted.tokens), sorted.begin, input.experts.gate_up, false, output.gate_up);
  const at::Tensor act = at::empty({choices, width}, options), y = at::empty({choices, hidden}, options);
  const auto swiglu = moe_kernels().swiglu[element_of(input.x)];
  for_rows_of_groups(sorted.begin, 2 * width, [&](int64_t expert, int64_t, int64_t begin, int64_t end) {
    swiglu(row_at(output.gate_up, begin, 2 * width), bias_of(input.experts.gate_up_bias, expert), input.swiglu_limit,
           row_at(act, begin, width), end - begin, width);
  });
  grouped_product(act, sorted.begin, input.experts.down, false, y);
  output.out = combine(y, sorted, input.weights, input.chosen, input.experts.down_bias);
  return output;
}

MoeGradients moe_backward(const MoeInput& input, const SortedChoices& sorted, const at::Tensor& gate_up,
                          const at::Tensor& grad_out) {
  const int64_t hidden = input.x.size(1), width = input.experts.down.size(1), experts = input.experts.down.size(0);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size());
  const auto options = input.x.options();
  const MoeKernels& kernels = moe_kernels();
  const Element element = element_of(input.x);
  const float* weights = sorted.weights.data();
  std::vector<float> grad_weights(sorted.tokens.size());
  MoeGradients gradients;
  if (input.gate_up_wanted) gradients.experts.gate_up = at::empty(input.experts.gate_up.sizes(), options);
  if (input.down_wanted) gradients.experts.down = at::empty(input.experts.down.sizes(), options);

  const at::Tensor grad = at::empty({choices, hidden}, options);
  const BiasSums down_bias(input.experts.down_bias, experts, hidden);
  for_rows_of_groups(sorted.begin, hidden, [&](int64_t expert, int64_t part, int64_t begin, int64_t end) {
    kernels.gather_grad[element](bytes_of(grad_out), sorted.tokens.data() + begin, weights + begin,
                                 bias_of(input.experts.down_bias, expert), row_at(grad, begin, hidden),
                                 grad_weights.data() + begin, down_bias.of(part, expert), end - begin, hidden);
  });
  at::Tensor grad_act = at::empty({choices, width}, options);
  grouped_product(grad, sorted.begin, input.experts.down, true, grad_act);

  at::Tensor weighted_act = at::empty({choices, width}, options);
  const at::Tensor grad_gate_up = at::empty({choices, 2 * width}, options);
  const BiasSums gate_up_bias(input.experts.gate_up_bias, experts, 2 * width);
  for_rows_of_groups(sorted.begin, 2 * width, [&](int64_t expert, int64_t part, int64_t begin, int64_t end) {
    kernels.swiglu_backward[element](row_at(gate_up, begin, 2 * width), bias_of(input.experts.gate_up_bias, expert),
                                     input.swiglu_limit, weights + begin, row_at(grad_act, begin, width),
                                     row_at(weighted_act, begin, width), row_at(grad_gate_up, begin, 2 * width),
                                     grad_weights.data() + begin, gate_up_bias.of(part, expert), end - begin, width);
  });
  if (input.down_wanted) grouped_outer_product(weighted_act, grad, sorted.begin, gradients.experts.down);
  grad_act = weighted_act = at::Tensor();
  if (input.gate_up_wanted) {
    grouped_outer_product(gather_rows(input.x, sorted.tokens), grad_gate_up, sorted.begin, gradients.experts.gate_up);
  }
  const at::Tensor& grad_rows = grad;  // its memory is free again
  grouped_product(grad_gate_up, sorted.begin, input.experts.gate_up, true, grad_rows);

  gradients.x = combine(grad_rows, sorted, {}, input.chosen, {});
  gradients.weights = at::empty(input.weights.sizes(), input.weights.options());
  float* to = gradients.weights.mutable_data_ptr<float>();
  for (int64_t i = 0; i < choices; ++i)
    to[i] = grad_weights[static_cast<size_t>(sorted.places[static_cast<size_t>(i)])];
  gradients.experts.down_bias = down_bias.total();
  if (gate_up_bias.sums.defined()) {
    gradients.experts.gate_up_bias =
        gate_up_bias.total().view({experts, 2, width}).transpose(1, 2).reshape({experts, 2 * width});
  }
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
