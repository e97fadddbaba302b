// Gradients of attention. Scores are computed anew from the saved logarithms of their sums: with weights P = exp(scale
// q k - log_sum) and delta = out dout, the gradient of the scores is P (dout v - delta). One kernel sums over the keys
// for queries, one over the queries for keys and values, so every sum has one owner and a fixed order.
#include "attention_tiles.metal.h"

/// delta [B, Q, T] = sum of out * grad over the head, both [B, T, Q, D]; a simdgroup each row.
template <typename T>
kernel void attention_delta(device const T* out [[buffer(0)]], device const T* grad [[buffer(1)]],
                            device float* delta [[buffer(2)]], constant long& heads [[buffer(3)]],
                            constant long& queries [[buffer(4)]], constant long& width [[buffer(5)]],
                            uint2 place [[thread_position_in_grid]]) {
  const long row = long(place.y);  // (b T + t) Q + h
  float sum = 0.0f;
  for (long i = long(place.x); i < width; i += 32) {
    sum += float(out[row * width + i]) * float(grad[row * width + i]);
  }
  sum = simd_sum(sum);
  const long head = row % heads, token = row / heads % queries, batch = row / (heads * queries);
  if (place.x == 0) delta[(batch * heads + head) * queries + token] = sum;
}

/// grad [Q] = -sum over b and t of exp(sink - log_sum) * delta; a threadgroup each head.
kernel void attention_sinks_backward(device const float* sinks [[buffer(0)]],
                                     device const float* log_sum [[buffer(1)]], device const float* delta [[buffer(2)]],
                                     device float* grad [[buffer(3)]], constant long& batches [[buffer(4)]],
                                     constant long& heads [[buffer(5)]], constant long& queries [[buffer(6)]],
                                     uint head [[threadgroup_position_in_grid]],
                                     uint thread_index [[thread_index_in_threadgroup]],
                                     uint threads [[threads_per_threadgroup]],
                                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                                     uint lane [[thread_index_in_simdgroup]],
                                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[32];
  float sum = 0.0f;
  for (long i = long(thread_index); i < batches * queries; i += long(threads)) {
    const long place = (i / queries * heads + long(head)) * queries + i % queries;
    sum += exp(sinks[head] - log_sum[place]) * delta[place];
  }
  sum = sum_of_group(sum, scratch, simdgroup, lane, simdgroups);
  if (thread_index == 0) grad[head] = -sum;
}

/// One threadgroup computes the gradients of 32 rows of one key head: place is (tile of rows, key head, sequence).
template <typename T, int W>
[[max_total_threads_per_threadgroup(128)]] kernel void attention_query_backward(
    device const T* query [[buffer(0)]], device const T* key [[buffer(1)]], device const T* value [[buffer(2)]],
    device const long* documents [[buffer(3)]], device const T* grad [[buffer(4)]],
    device const float* log_sum [[buffer(5)]], device const float* delta [[buffer(6)]],
    device T* grad_query [[buffer(7)]], constant long& query_batch [[buffer(8)]],
    constant long& query_head [[buffer(9)]], constant long& query_token [[buffer(10)]],
    constant long& key_batch [[buffer(11)]], constant long& key_head [[buffer(12)]],
    constant long& key_token [[buffer(13)]], constant long& value_batch [[buffer(14)]],
    constant long& value_head [[buffer(15)]], constant long& value_token [[buffer(16)]],
    constant long& group_size [[buffer(17)]], constant long& query_count [[buffer(18)]],
    constant long& key_count [[buffer(19)]], constant long& head_width [[buffer(20)]],
    constant long& window [[buffer(21)]], constant long& scale_bits [[buffer(22)]],
    constant long& has_documents [[buffer(23)]], uint3 place [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 tile[tile_rows * tile_pieces<T, W>()];
  threadgroup float score_strips[4 * 8 * strip_stride];
  threadgroup float grad_strips[4 * 8 * strip_stride];
  const int group = int(group_size), queries = int(query_count), keys = int(key_count), width = int(head_width);
  const int rows = group * queries, past = keys - queries;
  const int first_row = int(groups.x - 1 - place.x) * tile_rows;  // those with most keys first
  const int strip_row = first_row + 8 * int(simdgroup), row = strip_row + int(lane) / 4;
  const bool active = strip_row < rows;
  const long batch = long(place.z), kv_head = long(place.y), heads = long(group) * long(groups.y);
  const bool in_documents = has_documents != 0;
  device const long* ids = documents + (in_documents ? batch * keys : 0);
  const long first_out = (batch * queries * heads + kv_head * group) * width;
  threadgroup float* scores = score_strips + int(simdgroup) * 8 * strip_stride;
  threadgroup float* grads = grad_strips + int(simdgroup) * 8 * strip_stride;

  QueryRows query_rows, out_rows;
  query_rows.group = out_rows.group = group;
  query_rows.head_stride = query_head;
  query_rows.token_stride = query_token;
  out_rows.head_stride = width;
  out_rows.token_stride = heads * width;
  KeyRows key_rows, value_rows;
  key_rows.token_stride = key_token;
  value_rows.token_stride = value_token;
  simdgroup_matrix<T, 8, 8> own_queries[W / 8], own_grads[W / 8];
  load_tile<T, W, tile_rows, 128>(tile, query + batch * query_batch + kv_head * group * query_head, query_rows,
                                  first_row, rows, width, thread_index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_strip<T, W>(own_queries, tile, 8 * int(simdgroup));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_tile<T, W, tile_rows, 128>(tile, grad + first_out, out_rows, first_row, rows, width, thread_index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_strip<T, W>(own_grads, tile, 8 * int(simdgroup));
  simdgroup_matrix<float, 8, 8> sums[W / 8];
  set_zero<W / 8>(sums);

  const float scale = real(scale_bits);
  const int first_position = past + first_row / group;
  const int last_position = past + (min(first_row + tile_rows, rows) - 1) / group;
  const Sight sight = sight_of(row < rows ? past + row / group : -1, window, in_documents, ids);
  DocumentRange range = {0, 0};
  if (in_documents) range = documents_at(first_position, last_position, ids);
  float own_log_sum = 0.0f, own_delta = 0.0f;
  if (row < rows) {
    const long index = (batch * heads + kv_head * group + row % group) * queries + row / group;
    own_log_sum = log_sum[index] * log2_e;
    own_delta = delta[index];
  }

  const int first_block = window > 0 ? max(first_position - int(window) + 1, 0) / tile_rows : 0;
  for (int block = first_block; block <= last_position / tile_rows; ++block) {
    const int first_key = block * tile_rows;
    if (in_documents && !any_within(range, first_key + int(lane), keys, ids)) continue;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, W, tile_rows, 128>(tile, value + batch * value_batch + kv_head * value_head, value_rows, first_key,
                                    keys, width, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (active) multiply_transposed<T, W, tile_rows>(grads, own_grads, tile, width);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, W, tile_rows, 128>(tile, key + batch * key_batch + kv_head * key_head, key_rows, first_key, keys,
                                    width, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (active) {
      multiply_transposed<T, W, tile_rows>(scores, own_queries, tile, width);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      for (int i = 0; i < tile_rows / 4; ++i) {
        const int column = int(lane) % 4 + 4 * i, at = (int(lane) / 4) * strip_stride + column;
        float result = 0.0f;
        if (sees(sight, first_key + column, ids)) {
          result = fast::exp2(scores[at] * scale * log2_e - own_log_sum) * (grads[at] - own_delta);
        }
        scores[at] = result;
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
      multiply_add<T, W, tile_rows>(sums, scores, tile, width);
    }
  }
  if (active) store_rows<T, W>(grad_query + first_out, out_rows, strip_row, rows, width, sums, scale, scores, lane);
}

/// One threadgroup computes the gradients of 32 keys and values: place is (block of keys, key head, sequence). Rows are
/// read as many at a time as two tiles of them leave room for.
template <typename T, int W>
[[max_total_threads_per_threadgroup(128)]] kernel void attention_key_value_backward(
    device const T* query [[buffer(0)]], device const T* key [[buffer(1)]], device const T* value [[buffer(2)]],
    device const long* documents [[buffer(3)]], device const T* grad [[buffer(4)]],
    device const float* log_sum [[buffer(5)]], device const float* delta [[buffer(6)]],
    device T* grad_key [[buffer(7)]], device T* grad_value [[buffer(8)]], constant long& query_batch [[buffer(9)]],
    constant long& query_head [[buffer(10)]], constant long& query_token [[buffer(11)]],
    constant long& key_batch [[buffer(12)]], constant long& key_head [[buffer(13)]],
    constant long& key_token [[buffer(14)]], constant long& value_batch [[buffer(15)]],
    constant long& value_head [[buffer(16)]], constant long& value_token [[buffer(17)]],
    constant long& group_size [[buffer(18)]], constant long& query_count [[buffer(19)]],
    constant long& key_count [[buffer(20)]], constant long& head_width [[buffer(21)]],
    constant long& window [[buffer(22)]], constant long& scale_bits [[buffer(23)]],
    constant long& has_documents [[buffer(24)]], uint3 place [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr int step = W * int(sizeof(T)) > 256 ? 16 : 32;
  threadgroup uint4 tiles[2 * step * tile_pieces<T, W>()];
  threadgroup float strips[4 * 8 * strip_stride];
  threadgroup float log_sums[step];
  threadgroup float deltas[step];
  threadgroup int positions[step];  // -1 beyond the last row
  threadgroup uint4* query_tile = tiles;
  threadgroup uint4* grad_tile = tiles + step * tile_pieces<T, W>();
  threadgroup float* strip = strips + int(simdgroup) * 8 * strip_stride;
  const int group = int(group_size), queries = int(query_count), keys = int(key_count), width = int(head_width);
  const int past = keys - queries, first_key = int(place.x) * tile_rows;
  const int last_key = min(first_key + tile_rows, keys) - 1;
  const int strip_key = first_key + 8 * int(simdgroup), own_key = strip_key + int(lane) / 4;
  const bool active = strip_key < keys;
  const long batch = long(place.z), kv_head = long(place.y), kv_heads = long(groups.y), heads = group * kv_heads;
  const bool in_documents = has_documents != 0;
  device const long* ids = documents + (in_documents ? batch * keys : 0);
  device const T* head_queries = query + batch * query_batch + kv_head * group * query_head;
  device const T* head_grads = grad + (batch * queries * heads + kv_head * group) * width;

  KeyRows key_rows, value_rows, out_rows;
  key_rows.token_stride = key_token;
  value_rows.token_stride = value_token;
  out_rows.token_stride = kv_heads * width;
  QueryRows query_rows, grad_rows;
  query_rows.group = grad_rows.group = group;
  query_rows.head_stride = query_head;
  query_rows.token_stride = query_token;
  grad_rows.head_stride = width;
  grad_rows.token_stride = heads * width;
  simdgroup_matrix<T, 8, 8> own_keys[W / 8], own_values[W / 8];
  load_tile<T, W, tile_rows, 128>(tiles, key + batch * key_batch + kv_head * key_head, key_rows, first_key, keys, width,
                                  thread_index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_strip<T, W>(own_keys, tiles, 8 * int(simdgroup));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_tile<T, W, tile_rows, 128>(tiles, value + batch * value_batch + kv_head * value_head, value_rows, first_key,
                                  keys, width, thread_index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_strip<T, W>(own_values, tiles, 8 * int(simdgroup));
  simdgroup_matrix<float, 8, 8> key_sums[W / 8], value_sums[W / 8];
  set_zero<W / 8>(key_sums);
  set_zero<W / 8>(value_sums);

  const float scale = real(scale_bits);
  const int first_query = max(first_key - past, 0);
  const int last_query = window > 0 ? min(last_key + int(window) - 1 - past, queries - 1) : queries - 1;
  const int end_row = (last_query + 1) * group;
  DocumentRange range = {0, 0};
  if (in_documents) range = documents_at(first_key, last_key, ids);
  for (int first_row = first_query * group; first_row < end_row; first_row += step) {
    const int lane_row = first_row + int(lane) % step;
    if (in_documents && !any_within(range, lane_row < end_row ? past + lane_row / group : keys, keys, ids)) continue;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, W, step, 128>(query_tile, head_queries, query_rows, first_row, end_row, width, thread_index);
    load_tile<T, W, step, 128>(grad_tile, head_grads, grad_rows, first_row, end_row, width, thread_index);
    if (int(thread_index) < step) {
      const int row = first_row + int(thread_index);
      const long index = (batch * heads + kv_head * group + row % group) * queries + row / group;
      log_sums[thread_index] = row < end_row ? log_sum[index] * log2_e : 0.0f;
      deltas[thread_index] = row < end_row ? delta[index] : 0.0f;
      positions[thread_index] = row < end_row ? past + row / group : -1;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (!active) continue;
    threadgroup float* own = strip + (int(lane) / 4) * strip_stride + int(lane) % 4;
    float weights[step / 4];
    multiply_transposed<T, W, step>(strip, own_keys, query_tile, width);
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int i = 0; i < step / 4; ++i) {
      const int of_row = int(lane) % 4 + 4 * i;
      const bool seen = sees(sight_of(positions[of_row], window, in_documents, ids), own_key, ids);
      weights[i] = seen ? fast::exp2(own[4 * i] * scale * log2_e - log_sums[of_row]) : 0.0f;
      own[4 * i] = weights[i];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    multiply_add<T, W, step>(value_sums, strip, grad_tile, width);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    multiply_transposed<T, W, step>(strip, own_values, grad_tile, width);
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int i = 0; i < step / 4; ++i) {
      own[4 * i] = weights[i] * (own[4 * i] - deltas[int(lane) % 4 + 4 * i]);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    multiply_add<T, W, step>(key_sums, strip, query_tile, width);
  }
  if (!active) return;
  const long first_out = (batch * keys * kv_heads + kv_head) * width;
  store_rows<T, W>(grad_key + first_out, out_rows, strip_key, keys, width, key_sums, scale, strip, lane);
  store_rows<T, W>(grad_value + first_out, out_rows, strip_key, keys, width, value_sums, 1.0f, strip, lane);
}

#define BACKWARD(W, type)                                                                        \
  KERNEL_AS("attention_query_backward_" #W "_" #type, attention_query_backward, type, W)         \
  KERNEL_AS("attention_key_value_backward_" #W "_" #type, attention_key_value_backward, type, W)
#define BACKWARD_WIDTHS(type) BACKWARD(32, type) BACKWARD(64, type) BACKWARD(128, type)

BACKWARD_WIDTHS(float)
BACKWARD_WIDTHS(half)
#if __METAL_VERSION__ >= 310
BACKWARD_WIDTHS(bfloat)
#endif
KERNELS(attention_delta)
