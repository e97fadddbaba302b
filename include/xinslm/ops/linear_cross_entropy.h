#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

constexpr int64_t ignored_target = -100;

/// Sum over the tokens of the cross-entropy (nats) between softmax(softcap(hidden W^T)) and the targets, with the head
/// computed in chunks of tokens so that the logits of all tokens are never held; gradients are formed in the same pass.
///
/// @param hidden           [N, H] float32 or bfloat16
/// @param weight           [V, H], type of hidden
/// @param targets          [N] int64 in [0, V), or ignored_target
/// @param label_smoothing  share of the target spread evenly over V (Szegedy et al. 2015)
/// @param softcap          c: logits become c * tanh(logits / c); 0 = off
/// @return                 scalar float32: the sum, not the mean
at::Tensor linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                double label_smoothing, double softcap);
at::Tensor linear_cross_entropy_ref(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                    double label_smoothing, double softcap);

/// Log-probability (nats) of each target, [N] float32, without gradient and without holding all logits; `greedy`, when
/// not null, becomes [N] bool: the target is the most probable token.
at::Tensor token_log_probabilities(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                   double softcap, at::Tensor* greedy = nullptr);

}  // namespace xinslm
