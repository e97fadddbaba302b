#pragma once
#include "ops/attention_parts.h"

namespace xinslm::mps {

/// Whether there are kernels for these queries [B, Q, T, D]: heads wider than 128 are left to the reference.
bool has_attention(const at::Tensor& query);

/// With what attention_backward() needs.
AttentionOutput attention_forward(const AttentionInput& input);

/// Without; few queries over many keys are split over the keys, so that one token fills the device.
at::Tensor attention_inference(const AttentionInput& input);

AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out);

}  // namespace xinslm::mps
