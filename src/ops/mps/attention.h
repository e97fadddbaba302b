#pragma once
#include <cstdint>

#include "ops/attention_parts.h"

namespace xinslm::mps {

/// Wider heads are left to the reference.
constexpr int64_t widest_attention_head = 128;

/// With what attention_backward() needs.
AttentionOutput attention_forward(const AttentionInput& input);

/// Without; few queries over many keys are split over the keys, so that one token fills the device.
at::Tensor attention_inference(const AttentionInput& input);

AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out);

}  // namespace xinslm::mps
