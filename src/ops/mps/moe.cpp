#include "ops/mps/moe.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/mps/launch.h"
#include "ops/mps/product.h"

namespace xinslm::mps {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr uint64_t simd_width = 32, group_threads = 128, elementwise_threads = 256;

/// A simdgroup for each token.
void run_tokens(Launch& launch, int64_t tokens) {
  launch.run({static_cast<uint64_t>(tokens) * simd_width}, {group_threads});
}

struct RouteFunction : torch::autograd::Function<RouteFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& router_logits, int64_t k,
                               bool softmax_before, const std::optional<at::Tensor>& selection_bias) {
    const at::Tensor logits = dense(router_logits), bias = dense(tensor_of(selection_bias));
    const int64_t tokens = logits.size(0);
    const at::Tensor chosen = at::empty({tokens, k}, logits.options().dtype(at::kLong));
    const at::Tensor weights = at::empty({tokens, k}, logits.options());
    Launch launch("moe", "route");
    launch.tensor(logits).tensor(or_any(bias, logits)).tensor(chosen).tensor(weights);
    launch.integer(tokens).integer(logits.size(1)).integer(k).integer(bias.defined()).integer(softmax_before);
    run_tokens(launch, tokens);
    context->save_for_backward({logits, chosen, weights});
    context->saved_data["before"] = softmax_before;
    context->mark_non_differentiable({chosen});
    return {chosen, weights};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor logits = saved[0], chosen = saved[1], grad = at::empty(logits.sizes(), logits.options());
    Launch launch("moe", "route_backward");
    launch.tensor(logits).tensor(chosen).tensor(saved[2]).tensor(dense(grads[1])).tensor(grad);
    launch.integer(logits.size(0)).integer(logits.size(1)).integer(chosen.size(1));
    launch.integer(context->saved_data["before"].toBool());
    run_tokens(launch, logits.size(0));
    return {grad, {}, {}, {}};
  }
};

}  // namespace

Routing moe_route(const at::Tensor& router_logits, int64_t k, bool softmax_before, const at::Tensor& selection_bias) {
  const at::Tensor bias = selection_bias.defined() ? selection_bias.detach().to(at::kFloat) : selection_bias;
  const auto results = RouteFunction::apply(router_logits, k, softmax_before, optional_of(bias));
  return {results[0], results[1]};
}

at::Tensor swiglu_forward(const at::Tensor& gate_up, double swiglu_limit) {
  auto sizes = gate_up.sizes().vec();
  sizes.back() /= 2;
  const at::Tensor from = dense(gate_up), act = at::empty(sizes, gate_up.options());
  Launch launch("moe", cat("swiglu_forward_", suffix(from)));
  launch.tensor(from).tensor(act).real(swiglu_limit);
  launch.run({static_cast<uint64_t>(act.numel())}, {elementwise_threads});
  return act;
}

at::Tensor swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad_act, double swiglu_limit) {
  const at::Tensor from = dense(gate_up), grad = at::empty(gate_up.sizes(), gate_up.options());
  Launch launch("moe", cat("swiglu_backward_", suffix(from)));
  launch.tensor(from).tensor(dense(grad_act)).tensor(grad).real(swiglu_limit);
  launch.run({static_cast<uint64_t>(grad_act.numel())}, {elementwise_threads});
  return grad;
}

}  // namespace xinslm::mps
