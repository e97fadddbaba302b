#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm::cpu {

/// What attention works on; shapes as in attention(), query, key and value of one type, float32 or bfloat16.
struct AttentionInput {
  at::Tensor query, key, value, sinks;
  int64_t window = 0;
  at::Tensor document_ids;
};

struct AttentionOutput {
  at::Tensor out;      ///< [B, Q, T, D], tokens before heads in memory
  at::Tensor log_sum;  ///< [B, Q, T] float32, logarithm of the softmax denominator
};
AttentionOutput attention_forward(const AttentionInput& input);

/// For a few queries, without what a backward pass would need.
at::Tensor attention_decode(const AttentionInput& input);

struct AttentionGradients {
  at::Tensor query, key, value;
  at::Tensor sinks;  ///< [Q] float32, undefined without sinks
};
AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out);

}  // namespace xinslm::cpu
