#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

struct Routing {
  at::Tensor chosen;   ///< [N, k] int64 experts of each token, best first
  at::Tensor weights;  ///< [N, k] float32, differentiable; sums to 1 when the softmax is over the chosen
};

/// Picks k experts a token. softmax_before: weights are the softmax over all E (so that one expert also gets a
/// gradient); else the softmax over the k chosen logits (gpt-oss). selection_bias [E] or undefined is added for the
/// choice only.
/// @param router_logits [N, E] float32
Routing moe_route(const at::Tensor& router_logits, int64_t k, bool softmax_before, const at::Tensor& selection_bias);

struct ExpertWeights {
  at::Tensor gate_up;       ///< [E, H, 2I]: even columns gate g, odd columns linear l (transformers' GptOssExperts)
  at::Tensor gate_up_bias;  ///< [E, 2I] or undefined
  at::Tensor down;          ///< [E, I, H]
  at::Tensor down_bias;     ///< [E, H] or undefined
};

/// swiglu_limit c > 0: g' = min(g, c), l' = clamp(l, -c, c), g' * sigmoid(1.702 g') * (l' + 1); 0: g * sigmoid(g) * l.
/// @param gate_up [..., 2I] interleaved; @return [..., I]
at::Tensor swiglu(const at::Tensor& gate_up, double swiglu_limit);
at::Tensor swiglu_ref(const at::Tensor& gate_up, double swiglu_limit);

/// Weighted sum of the chosen experts' outputs. Dropless: tokens are sorted by expert, one product per expert, no
/// padding and no token dropped; experts without a token cost nothing.
/// @param x  [N, H] float32 or bfloat16
/// @return   [N, H], type of x
at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts, double swiglu_limit);
at::Tensor moe_experts_ref(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts,
                           double swiglu_limit);

}  // namespace xinslm
