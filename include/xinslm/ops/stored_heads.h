#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// Keys or values as a cache keeps them: as they are, or as 8-bit integers with a scale for each token and head.
struct StoredHeads {
  at::Tensor values;  ///< [B, K, S, D] float32, bfloat16, float16 or int8
  at::Tensor scales;  ///< [B, K, S] float32, the largest magnitude of the D / 127; undefined but with int8
};

/// Writes keys and values [B, K, T, D] to places for T tokens, in the type that the places have.
void store_heads(const at::Tensor& keys, const at::Tensor& values, const StoredHeads& key_place,
                 const StoredHeads& value_place);

/// [B, K, S, D] of the type given; a view where that is the type stored.
at::Tensor load_heads(const StoredHeads& heads, at::ScalarType type);

/// attention() of one document over stored keys and values, without gradients. query [B, Q, T, D] as there.
at::Tensor attention(const at::Tensor& query, const StoredHeads& keys, const StoredHeads& values,
                     const at::Tensor& sinks, int64_t window);

}  // namespace xinslm
