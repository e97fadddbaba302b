#pragma once
#include <ATen/core/Tensor.h>

#include "xinslm/ops/moe.h"
#include "xinslm/ops/packed.h"

namespace xinslm::mps {

/// The most experts a token that moe_route() here finds: each is kept by a lane of a simdgroup.
inline constexpr int64_t most_choices = 32;

// What xinslm's functions of the same names promise, gradients included, for what is_fast() and not empty. Chosen
// experts are not looked at by the processor: one outside of [0, E) counts as the nearest there is.

Routing moe_route(const at::Tensor& router_logits, int64_t k, bool softmax_before, const at::Tensor& selection_bias);

at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts, double swiglu_limit);

/// Weights are exact, sums and, for few tokens, activations float32.
at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                       double swiglu_limit);

/// @param gate_up  [..., 2I] contiguous
at::Tensor swiglu_forward(const at::Tensor& gate_up, double swiglu_limit);
at::Tensor swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad_act, double swiglu_limit);

}  // namespace xinslm::mps
