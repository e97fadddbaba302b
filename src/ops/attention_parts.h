#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// What the fast versions of attention take and give; shapes as in attention().
namespace xinslm {

/// Query, key and value are of one type that the version takes, but for keys and values of 8 bits.
struct AttentionInput {
  at::Tensor query, key, value, sinks;
  int64_t window = 0;
  at::Tensor document_ids;
  at::Tensor key_scales, value_scales;  ///< [B, K, S] float32, with keys and values of int8
};

struct AttentionOutput {
  at::Tensor out;      ///< [B, Q, T, D], tokens before heads in memory
  at::Tensor log_sum;  ///< [B, Q, T] float32, logarithm of the softmax denominator
};

struct AttentionGradients {
  at::Tensor query, key, value;
  at::Tensor sinks;  ///< [Q] float32, undefined without sinks
};

/// @throws Error(usage) on sizes that do not fit; types are the caller's business
void check_attention_sizes(const AttentionInput& input);

}  // namespace xinslm
