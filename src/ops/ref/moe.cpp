#include "xinslm/ops/moe.h"

#include <ATen/ATen.h>

#include "ops/ref/count.h"
#include "ops/ref/types.h"

namespace xinslm {
namespace {

at::Tensor gated(const at::Tensor& gate_up, double swiglu_limit) {
  const at::Tensor wide = gate_up.to(sum_type(gate_up)).unflatten(-1, {gate_up.size(-1) / 2, 2});
  at::Tensor gate = wide.select(-1, 0), linear = wide.select(-1, 1);
  if (swiglu_limit <= 0) return (gate * gate.sigmoid() * linear).to(gate_up.scalar_type());
  gate = gate.clamp_max(swiglu_limit);
  linear = linear.clamp(-swiglu_limit, swiglu_limit);
  return (gate * (gate * 1.702).sigmoid() * (linear + 1)).to(gate_up.scalar_type());
}

}  // namespace

at::Tensor swiglu_ref(const at::Tensor& gate_up, double swiglu_limit) {
  count_reference("swiglu", gate_up);
  return gated(gate_up, swiglu_limit);
}

at::Tensor moe_experts_ref(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts,
                           double swiglu_limit) {
  count_reference("moe_experts", x);
  const at::ScalarType wide = sum_type(x);
  at::Tensor out = at::zeros(x.sizes(), x.options().dtype(wide));
  for (int64_t expert = 0; expert < experts.gate_up.size(0); ++expert) {
    const auto places = (routing.chosen == expert).nonzero().unbind(1);  // tokens, which of their k choices
    if (places[0].size(0) == 0) continue;
    at::Tensor gate_up = at::mm(x.index_select(0, places[0]), experts.gate_up[expert]).to(wide);
    if (experts.gate_up_bias.defined()) gate_up = gate_up + experts.gate_up_bias[expert].to(wide);
    const at::Tensor act = gated(gate_up, swiglu_limit).to(x.scalar_type());
    at::Tensor y = at::mm(act, experts.down[expert]).to(wide);
    if (experts.down_bias.defined()) y = y + experts.down_bias[expert].to(wide);
    const at::Tensor weight = routing.weights.index({places[0], places[1]}).to(wide);
    out = out.index_add(0, places[0], y * weight.unsqueeze(1));
  }
  return out.to(x.scalar_type());
}

}  // namespace xinslm
