#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Tokens of a tile: queries and keys are handled in squares of this side, and padded to a multiple of it.
constexpr int64_t attention_tile = 64;
/// Keys whose scores a query tile holds at a time; longer rows are joined by a running maximum (Milakov & Gimelshein
/// 2018).
constexpr int64_t attention_strip = 1024;

/// A [batch, heads, tokens, width] array whose last dimension is dense.
struct HeadsArray {
  void* data;
  int64_t batch_stride, head_stride, token_stride;  ///< in elements
};

/// One attention problem; letters and meaning as in attention().
struct AttentionProblem {
  int64_t batch, heads, kv_heads, queries, keys, width, window;
  float scale;
  HeadsArray query, key, value, out;
  const float* sinks;        ///< [Q] or null
  const int32_t* documents;  ///< [B, document_stride()] or null
  float* log_sum;            ///< [B, Q, T] logarithm of the softmax denominator, sink included; null in decoding
  // Backward only.
  HeadsArray grad_out, grad_query, grad_key, grad_value;
  float* grad_sinks;  ///< [B, Q] part of each batch entry, or null

  int64_t padded_width() const { return (width + 15) / 16 * 16; }
  int64_t padded_queries() const { return (queries + attention_tile - 1) / attention_tile * attention_tile; }
  int64_t padded_keys() const { return (keys + attention_tile - 1) / attention_tile * attention_tile; }
  /// Room to read whole tiles of keys or of queries.
  int64_t document_stride() const { return padded_keys() + attention_tile; }
  int64_t query_tiles() const { return padded_queries() / attention_tile; }
  /// Elements of 4 bytes, enough for every instruction set.
  int64_t packed_size() const { return 2 * padded_keys() * padded_width(); }
  int64_t forward_scratch_size() const {
    return attention_tile * (3 * padded_width() + 2 * attention_strip) + 4 * attention_tile;
  }
  int64_t backward_scratch_size() const {
    const int64_t group = heads / kv_heads;
    const int64_t per_head = 5 * padded_queries() * padded_width() + 2 * padded_queries();
    return group * (per_head + 32) + attention_tile * (6 * padded_width() + 8 * attention_tile);
  }
};

/// All scratch memory is aligned to 64 bytes. Indexed by Element.
struct AttentionKernels {
  /// Rearranges keys and values of KV head `task` of batch * kv_heads into packed [packed_size].
  void (*pack[2])(const AttentionProblem&, int64_t task, float* packed);
  /// One tile of queries of one head; task counts batch, heads, query tiles, the last fastest. `packed` is what pack()
  /// left for the head's keys and values.
  void (*forward[2])(const AttentionProblem&, int64_t task, const float* packed, float* scratch);
  /// All gradients of KV head `task` of batch * kv_heads and the query heads that read it.
  void (*backward[2])(const AttentionProblem&, int64_t task, float* scratch);
  /// All queries of the query heads of KV head `task`, straight from keys and values: for a few queries.
  /// scratch [keys]
  void (*decode[2])(const AttentionProblem&, int64_t task, float* scratch);
};

XINSLM_DECLARE_KERNELS(AttentionKernels, attention_kernels)

}  // namespace xinslm
