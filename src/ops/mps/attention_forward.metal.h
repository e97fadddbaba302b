// Attention without the matrix of all scores (Dao et al. 2022): each strip of rows goes once over the keys it may see,
// with the largest score and the sum of exponentials so far. A sink is a first key whose value is zero.
#include "attention_tiles.metal.h"

/// Keys or values [first, first + 32) of a head, which begins at `offset`; the scales of its integers at `scales`.
template <typename T, int W, int THREADS>
inline void load_keys(threadgroup uint4* tile, device const T* data, device const float*, long offset,
                      long token_stride, int first, int end, int width, uint thread_index) {
  KeyRows rows;
  rows.token_stride = token_stride;
  load_tile<T, W, tile_rows, THREADS>(tile, data + offset, rows, first, end, width, thread_index);
}

/// The same of 8-bit integers with a scale for each row.
template <typename T, int W, int THREADS>
inline void load_keys(threadgroup uint4* tile, device const char* data, device const float* scales, long offset,
                      long token_stride, int first, int end, int width, uint thread_index) {
  threadgroup T* out = (threadgroup T*)tile;
  for (int i = int(thread_index); i < tile_rows * W / 4; i += THREADS) {
    const int row = i / (W / 4), column = i % (W / 4) * 4;
    char4 codes = char4(0);
    float scale = 0.0f;
    if (first + row < end && column < width) {
      codes = *(device const char4*)(data + offset + (first + row) * token_stride + column);
      scale = scales[first + row];
    }
    for (int j = 0; j < 4; ++j) out[row * tile_stride<T, W>() + column + j] = T(float(codes[j]) * scale);
  }
}

/// Softmax so far of the row that four lanes share; each lane keeps the sum of its own columns.
struct Softmax {
  float most, sum;
};

/// Turns a strip of scores into exponentials over the largest so far. @return what earlier sums are to be multiplied by
inline float weigh(threadgroup float* strip, thread Softmax& softmax, Sight sight, int first_key, float scale,
                   device const long* documents, uint lane) {
  threadgroup float* row = strip + (int(lane) / 4) * strip_stride;
  float scores[tile_rows / 4], most = softmax.most;
  bool seen[tile_rows / 4];
#pragma unroll
  for (int i = 0; i < tile_rows / 4; ++i) {
    const int column = int(lane) % 4 + 4 * i;
    scores[i] = row[column] * scale;
    seen[i] = sees(sight, first_key + column, documents);
    if (seen[i]) most = max(most, scores[i]);
  }
  most = max(most, simd_shuffle_xor(most, ushort(1)));
  most = max(most, simd_shuffle_xor(most, ushort(2)));
  const float fading = fast::exp2(softmax.most - most);
  float sum = softmax.sum * fading;
#pragma unroll
  for (int i = 0; i < tile_rows / 4; ++i) {
    const float weight = seen[i] ? fast::exp2(scores[i] - most) : 0.0f;
    row[int(lane) % 4 + 4 * i] = weight;
    sum += weight;
  }
  softmax.most = most;
  softmax.sum = sum;
  return fading;
}

/// sums [8, W] times a factor a row. `diagonal` is an 8 x 8 matrix with zeros beside its diagonal.
template <int W>
inline void scale_rows(thread simdgroup_matrix<float, 8, 8> (&sums)[W / 8], float factor,
                       threadgroup float* diagonal, uint lane) {
  if (lane % 4 == 0) diagonal[9 * (lane / 4)] = factor;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<float, 8, 8> factors;
  simdgroup_load(factors, diagonal, 8);
#pragma unroll
  for (int d = 0; d < W / 8; ++d) simdgroup_multiply(sums[d], factors, sums[d]);
}

/// One threadgroup computes STRIPS strips of rows of one key head, or, where there are `splits`, one share of the keys
/// for them: place.x counts tiles of rows, then splits; place.y key heads; place.z sequences. Shares are written to
/// partial [splits, B, T, Q, D] and log_sum [splits, B, Q, T], the whole to out [B, T, Q, D]. Keys and values are Stored as
/// T or as 8-bit integers with scales, whose strides are those of the integers / 32.
template <typename T, typename Stored, int W, int STRIPS>
[[max_total_threads_per_threadgroup(32 * STRIPS)]] kernel void attention_forward(
    device const T* query [[buffer(0)]], device const Stored* key [[buffer(1)]],
    device const Stored* value [[buffer(2)]],
    device const float* sinks [[buffer(3)]], device const long* documents [[buffer(4)]], device T* out [[buffer(5)]],
    device float* log_sum [[buffer(6)]], device float* partial [[buffer(7)]],
    constant long& query_batch [[buffer(8)]], constant long& query_head [[buffer(9)]],
    constant long& query_token [[buffer(10)]], constant long& key_batch [[buffer(11)]],
    constant long& key_head [[buffer(12)]], constant long& key_token [[buffer(13)]],
    constant long& value_batch [[buffer(14)]], constant long& value_head [[buffer(15)]],
    constant long& value_token [[buffer(16)]], constant long& group_size [[buffer(17)]],
    constant long& query_count [[buffer(18)]], constant long& key_count [[buffer(19)]],
    constant long& head_width [[buffer(20)]], constant long& window [[buffer(21)]],
    constant long& scale_bits [[buffer(22)]], constant long& has_documents [[buffer(23)]],
    constant long& has_sinks [[buffer(24)]], constant long& split_count [[buffer(25)]],
    device const float* key_scales [[buffer(26)]], device const float* value_scales [[buffer(27)]],
    uint3 place [[threadgroup_position_in_grid]], uint3 groups [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 tile[tile_rows * tile_pieces<T, W>()];
  threadgroup float strips[STRIPS * 8 * strip_stride];
  threadgroup float diagonals[STRIPS * 64];
  constexpr int threads = 32 * STRIPS, rows_per_group = 8 * STRIPS;
  const int group = int(group_size), queries = int(query_count), keys = int(key_count), width = int(head_width);
  const int rows = group * queries, past = keys - queries, splits = int(split_count);
  const int tiles = (rows + rows_per_group - 1) / rows_per_group, split = int(place.x) / tiles;
  const int first_row = (tiles - 1 - int(place.x) % tiles) * rows_per_group;  // those with most keys first
  const int strip_row = first_row + 8 * int(simdgroup), row = strip_row + int(lane) / 4;
  const bool active = strip_row < rows;
  const long batch = long(place.z), kv_head = long(place.y), heads = long(group) * long(groups.y);
  const bool in_documents = has_documents != 0;
  device const long* ids = documents + (in_documents ? batch * keys : 0);
  threadgroup float* strip = strips + int(simdgroup) * 8 * strip_stride;
  threadgroup float* diagonal = diagonals + int(simdgroup) * 64;

  QueryRows query_rows;
  query_rows.group = group;
  query_rows.head_stride = query_head;
  query_rows.token_stride = query_token;
  load_tile<T, W, rows_per_group, threads>(tile, query + batch * query_batch + kv_head * group * query_head, query_rows,
                                           first_row, rows, width, thread_index);
  diagonal[lane] = 0.0f;
  diagonal[lane + 32] = 0.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<T, 8, 8> own_queries[W / 8];
  load_strip<T, W>(own_queries, tile, 8 * int(simdgroup));
  simdgroup_matrix<float, 8, 8> sums[W / 8];
  set_zero<W / 8>(sums);

  const float scale = real(scale_bits) * log2_e;
  const int first_position = past + first_row / group;
  const int last_position = past + (min(first_row + rows_per_group, rows) - 1) / group;
  const Sight sight = sight_of(row < rows ? past + row / group : -1, window, in_documents, ids);
  DocumentRange range = {0, 0};
  if (in_documents) range = documents_at(first_position, last_position, ids);
  Softmax softmax;
  softmax.most = lowest_float;
  softmax.sum = 0.0f;
  if (has_sinks != 0 && split == 0 && row < rows) {
    softmax.most = sinks[kv_head * group + row % group] * log2_e;
    softmax.sum = lane % 4 == 0 ? 1.0f : 0.0f;
  }

  const long key_offset = batch * key_batch + kv_head * key_head;
  const long value_offset = batch * value_batch + kv_head * value_head;
  device const float* own_key_scales = key_scales + key_offset / width;
  device const float* own_value_scales = value_scales + value_offset / width;
  int first_block = window > 0 ? max(first_position - int(window) + 1, 0) / tile_rows : 0;
  int end_block = last_position / tile_rows + 1;
  const int share = (end_block - first_block + splits - 1) / splits;
  first_block += split * share;
  end_block = min(end_block, first_block + share);
  for (int block = first_block; block < end_block; ++block) {
    const int first_key = block * tile_rows;
    if (in_documents && !any_within(range, first_key + int(lane), keys, ids)) continue;
    threadgroup_barrier(mem_flags::mem_threadgroup);  // the tile is free again
    load_keys<T, W, threads>(tile, key, own_key_scales, key_offset, key_token, first_key, keys, width, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (active) {
      multiply_transposed<T, W, tile_rows>(strip, own_queries, tile, width);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      const float fading = weigh(strip, softmax, sight, first_key, scale, ids, lane);
      if (simd_any(fading != 1.0f)) scale_rows<W>(sums, fading, diagonal, lane);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_keys<T, W, threads>(tile, value, own_value_scales, value_offset, value_token, first_key, keys, width,
                             thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (active) multiply_add<T, W, tile_rows>(sums, strip, tile, width);
  }
  if (!active) return;

  float sum = softmax.sum;
  sum += simd_shuffle_xor(sum, ushort(1));
  sum += simd_shuffle_xor(sum, ushort(2));
  const float factor = sum == 0.0f ? 0.0f : 1.0f / sum;  // a share may hold no key that a row sees
  const long token_rows = long(groups.z) * queries * heads;
  if (lane % 4 == 0 && row < rows) {
    const long index = (batch * heads + kv_head * group + row % group) * queries + row / group;
    log_sum[split * token_rows + index] = (softmax.most + log2(sum)) * ln_2;
  }
  QueryRows out_rows;
  out_rows.group = group;
  out_rows.head_stride = width;
  out_rows.token_stride = heads * width;
  const long first_out = (batch * queries * heads + kv_head * group) * width;
  if (splits == 1) {
    store_rows<T, W>(out + first_out, out_rows, strip_row, rows, width, sums, factor, strip, lane);
  } else {
    device float* own = partial + split * token_rows * width + first_out;
    store_rows<float, W>(own, out_rows, strip_row, rows, width, sums, factor, strip, lane);
  }
}
