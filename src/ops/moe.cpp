#include "xinslm/ops/moe.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/moe.h"
#include "ops/mps/launch.h"
#include "ops/mps/moe.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<at::Tensor>;

at::Tensor dense_swiglu(const at::Tensor& gate_up, double swiglu_limit) {
  return mps::is_fast(gate_up) ? mps::swiglu_forward(gate_up, swiglu_limit)
                               : cpu::swiglu_forward(gate_up, swiglu_limit);
}

struct SwigluFunction : torch::autograd::Function<SwigluFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up, double swiglu_limit) {
    context->save_for_backward({gate_up});
    context->saved_data["limit"] = swiglu_limit;
    return dense_swiglu(gate_up, swiglu_limit);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor gate_up = context->get_saved_variables()[0], grad = grads[0].contiguous();
    const double limit = context->saved_data["limit"].toDouble();
    return {
        mps::is_fast(gate_up) ? mps::swiglu_backward(gate_up, grad, limit) : cpu::swiglu_backward(gate_up, grad, limit),
        {}};
  }
};

at::Tensor dense_float(const at::Tensor& x) {
  return x.defined() ? x.to(at::kFloat).contiguous() : x;
}

cpu::MoeInput dense_input(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                          const ExpertWeights& experts, double swiglu_limit) {
  return {x.contiguous(),
          chosen.contiguous(),
          dense_float(weights),
          {experts.gate_up.contiguous(), dense_float(experts.gate_up_bias), experts.down.contiguous(),
           dense_float(experts.down_bias)},
          swiglu_limit,
          /*gate_up_wanted=*/true,
          /*down_wanted=*/true};
}

struct MoeFunction : torch::autograd::Function<MoeFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weights,
                            const at::Tensor& gate_up, const MaybeTensor& gate_up_bias, const at::Tensor& down,
                            const MaybeTensor& down_bias, const at::Tensor& chosen, double swiglu_limit) {
    const ExpertWeights experts{gate_up, tensor_of(gate_up_bias), down, tensor_of(down_bias)};
    const auto input = dense_input(x, chosen, weights, experts, swiglu_limit);
    const cpu::SortedChoices sorted(input.chosen, input.weights, down.size(0));
    const auto output = cpu::moe_forward(input, sorted);
    context->save_for_backward(
        {x, weights, gate_up, experts.gate_up_bias, down, experts.down_bias, chosen, output.gate_up});
    context->saved_data["limit"] = swiglu_limit;
    return output.out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    auto input = dense_input(saved[0], saved[6], saved[1], {saved[2], saved[3], saved[4], saved[5]},
                             context->saved_data["limit"].toDouble());
    input.gate_up_wanted = saved[2].requires_grad();
    input.down_wanted = saved[4].requires_grad();
    const cpu::SortedChoices sorted(input.chosen, input.weights, saved[4].size(0));
    const auto result = cpu::moe_backward(input, sorted, saved[7], grads[0].contiguous());
    const auto as_given = [](const at::Tensor& grad, const at::Tensor& like) {
      return like.defined() ? grad.to(like.scalar_type()) : at::Tensor();
    };
    return {result.x,
            as_given(result.weights, saved[1]),
            result.experts.gate_up,
            as_given(result.experts.gate_up_bias, saved[3]),
            result.experts.down,
            as_given(result.experts.down_bias, saved[5]),
            {},
            {}};
  }
};

void check(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts) {
  require(x.dim() == 2, "moe_experts: x is ", x.sizes(), ", expected [N, H]");
  require(experts.gate_up.dim() == 3 && experts.down.dim() == 3, "moe_experts: gate_up is ", experts.gate_up.sizes(),
          ", down ", experts.down.sizes(), ", expected [E, H, 2I] and [E, I, H]");
  const int64_t count = experts.down.size(0), width = experts.down.size(1), hidden = x.size(1);
  require(experts.gate_up.sizes() == at::IntArrayRef({count, hidden, 2 * width}) && experts.down.size(2) == hidden,
          "moe_experts: x is ", x.sizes(), ", gate_up ", experts.gate_up.sizes(), ", down ", experts.down.sizes(),
          ", expected [N, H], [E, H, 2I] and [E, I, H]");
  require(x.scalar_type() == experts.gate_up.scalar_type() && x.scalar_type() == experts.down.scalar_type(),
          "moe_experts: x is ", x.scalar_type(), ", gate_up ", experts.gate_up.scalar_type(), ", down ",
          experts.down.scalar_type(), "; they must have one type");
  require(routing.chosen.dim() == 2 && routing.chosen.size(0) == x.size(0) &&
              routing.chosen.sizes() == routing.weights.sizes() && routing.chosen.scalar_type() == at::kLong,
          "moe_experts: chosen experts are ", routing.chosen.sizes(), ", their weights ", routing.weights.sizes(),
          ", expected int64 and float [N, k] with N = ", x.size(0));
  const auto is_row_each = [&](const at::Tensor& bias, int64_t size) {
    return !bias.defined() || bias.sizes() == at::IntArrayRef({count, size});
  };
  require(is_row_each(experts.gate_up_bias, 2 * width) && is_row_each(experts.down_bias, hidden),
          "moe_experts: biases are not [", count, ", ", 2 * width, "] and [", count, ", ", hidden, "]");
}

}  // namespace

Routing moe_route(const at::Tensor& router_logits, int64_t k, bool softmax_before, const at::Tensor& selection_bias) {
  require(router_logits.dim() == 2, "moe_route: router_logits is ", router_logits.sizes(), ", expected [N, E]");
  require(k >= 1 && k <= router_logits.size(1), "moe_route: ", k, " experts a token of ", router_logits.size(1));
  require(!selection_bias.defined() || selection_bias.sizes() == at::IntArrayRef{router_logits.size(1)},
          "moe_route: the selection bias is not one number for each of ", router_logits.size(1), " experts");
  if (mps::is_fast(router_logits) && router_logits.scalar_type() == at::kFloat && k <= mps::most_choices &&
      router_logits.numel() > 0) {
    return mps::moe_route(router_logits, k, softmax_before, selection_bias);
  }
  const at::Tensor logits = router_logits.detach();
  const at::Tensor score = selection_bias.defined() ? logits + selection_bias : logits;
  const at::Tensor chosen = std::get<1>(score.topk(k, -1, /*largest=*/true, /*sorted=*/true));
  if (softmax_before) return {chosen, router_logits.softmax(-1).gather(1, chosen)};
  return {chosen, router_logits.gather(1, chosen).softmax(-1)};
}

at::Tensor swiglu(const at::Tensor& gate_up, double swiglu_limit) {
  require(gate_up.dim() > 0 && gate_up.size(-1) % 2 == 0, "swiglu: gate_up is ", gate_up.sizes(),
          "; its last size must be even");
  const bool is_fast = cpu::is_fast(gate_up) || mps::is_fast(gate_up);
  if (!is_fast || gate_up.numel() == 0) return swiglu_ref(gate_up, swiglu_limit);
  const at::Tensor dense = gate_up.contiguous();
  if (at::GradMode::is_enabled() && dense.requires_grad()) return SwigluFunction::apply(dense, swiglu_limit);
  return dense_swiglu(dense, swiglu_limit);
}

at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts, double swiglu_limit) {
  check(x, routing, experts);
  if (mps::is_fast(x) && x.numel() > 0) return mps::moe_experts(x, routing, experts, swiglu_limit);
  if (!cpu::is_fast(x) || x.numel() == 0) return moe_experts_ref(x, routing, experts, swiglu_limit);
  if (at::GradMode::is_enabled() &&
      (needs_gradient(x) || needs_gradient(routing.weights) || needs_gradient(experts.gate_up) ||
       needs_gradient(experts.down) || needs_gradient(experts.gate_up_bias) || needs_gradient(experts.down_bias))) {
    return MoeFunction::apply(x, routing.weights, experts.gate_up, optional_of(experts.gate_up_bias), experts.down,
                              optional_of(experts.down_bias), routing.chosen, swiglu_limit);
  }
  const auto input = dense_input(x, routing.chosen, routing.weights, experts, swiglu_limit);
  const cpu::SortedChoices sorted(input.chosen, input.weights, experts.down.size(0));
  return cpu::moe_forward(input, sorted).out;
}

}  // namespace xinslm
