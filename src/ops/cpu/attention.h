#pragma once
#include "ops/attention_parts.h"

// For float32 and bfloat16.
namespace xinslm::cpu {

AttentionOutput attention_forward(const AttentionInput& input);

/// For a few queries, without what a backward pass would need.
at::Tensor attention_decode(const AttentionInput& input);

AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out);

}  // namespace xinslm::cpu
