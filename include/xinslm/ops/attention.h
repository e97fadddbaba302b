#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// Causal attention with grouped query heads, a sliding window and learned sinks (gpt-oss; Xiao et al. 2023).
///
/// The T queries are the last T of the S positions. Query i (at position S - T + i) sees key j iff 0 <= pos - j and
/// (window = 0 or pos - j < window) and, where document_ids are given, both lie in the same document. A sink adds
/// exp(sink) to the softmax denominator of its head.
///
/// @param query         [B, Q, T, D] float32 or bfloat16
/// @param key, value    [B, K, S, D], K divides Q; query head h reads key head h / (Q / K)
/// @param sinks         [Q] or undefined
/// @param window        0 = full
/// @param document_ids  [B, S] int64 or undefined (then one document)
/// @return              [B, Q, T, D], type of query
/// @throws Error(usage) on sizes that do not fit
at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& sinks,
                     int64_t window, const at::Tensor& document_ids);
at::Tensor attention_ref(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& sinks, int64_t window, const at::Tensor& document_ids);

}  // namespace xinslm
