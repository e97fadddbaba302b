// The experts of few tokens with plain matrices [E, in, out]: decoding, bound by reading the weights. The simdgroups of a
// threadgroup share the rows of a matrix among them, every 8th each; a lane has a column, or a pair, of every 32.
#include "swiglu.metal.h"

constant constexpr int simd_width = 32, simdgroups = 8;

/// Sum over the simdgroups of a group, in the first of them. `partial` is free again after the next barrier.
inline float2 sum_of_simdgroups(float2 value, threadgroup float2* partial, uint simdgroup, uint lane) {
  partial[simdgroup * simd_width + lane] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 sum = value;
  if (simdgroup == 0) {
    for (int i = 1; i < simdgroups; ++i) sum += partial[i * simd_width + int(lane)];
  }
  return sum;
}

/// act = swiglu(x * gate_up + bias) of each choice's expert. A threadgroup for 32 columns of act (x), each choice (y).
///
/// x        [N, H]
/// chosen   [N, k]
/// weights  [E, H, 2 I] interleaved
/// bias     [E, 2 I]
/// act      [N * k, I]
template <typename T>
kernel void gate_up_dense_vector(device const T* x [[buffer(0)]], device const long* chosen [[buffer(1)]],
                                 device const T* weights [[buffer(2)]], device const float* bias [[buffer(3)]],
                                 device float* act [[buffer(4)]], constant long& has_bias [[buffer(5)]],
                                 constant long& k [[buffer(6)]], constant long& experts [[buffer(7)]],
                                 constant long& hidden [[buffer(8)]], constant long& width [[buffer(9)]],
                                 constant long& limit_bits [[buffer(10)]],
                                 uint3 group [[threadgroup_position_in_grid]],
                                 uint simdgroup [[simdgroup_index_in_threadgroup]],
                                 uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float2 partial[simdgroups * simd_width];
  const long column = long(group.x) * simd_width + lane, expert = clamp(chosen[group.y], 0L, experts - 1);
  device const T* own = x + long(int(group.y) / int(k)) * hidden;
  device const vec<T, 2>* pairs = (device const vec<T, 2>*)weights + expert * hidden * width + min(column, width - 1);
  float2 sums = float2(0.0f);
  for (int row = int(simdgroup); row < int(hidden); row += simdgroups) {
    sums += float(own[row]) * float2(pairs[row * width]);
  }
  sums = sum_of_simdgroups(sums, partial, simdgroup, lane);
  if (simdgroup != 0 || column >= width) return;
  if (has_bias != 0) sums += *(device const float2*)(bias + 2 * (expert * width + column));
  act[group.y * width + column] = swiglu_value(sums.x, sums.y, real(limit_bits));
}

/// out = sum over the choices of a token of weight * (act * down + bias). A threadgroup for 32 columns (x) of a token (y).
///
/// act      [N * k, I]
/// chosen, weights  [N, k]
/// down     [E, I, H]
/// bias     [E, H]
/// out      [N, H]
template <typename T>
kernel void down_dense_vector(device const float* act [[buffer(0)]], device const long* chosen [[buffer(1)]],
                              device const float* weights [[buffer(2)]], device const T* down [[buffer(3)]],
                              device const float* bias [[buffer(4)]], device T* out [[buffer(5)]],
                              constant long& has_bias [[buffer(6)]], constant long& k [[buffer(7)]],
                              constant long& experts [[buffer(8)]], constant long& hidden [[buffer(9)]],
                              constant long& width [[buffer(10)]], uint3 group [[threadgroup_position_in_grid]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float2 partial[simdgroups * simd_width];
  const long column = long(group.x) * simd_width + lane, there = min(column, hidden - 1);
  float sum = 0;
  for (int j = 0; j < int(k); ++j) {
    const long choice = group.y * k + j, expert = clamp(chosen[choice], 0L, experts - 1);
    device const T* own = down + expert * width * hidden + there;
    float of_choice = 0;
    for (int row = int(simdgroup); row < int(width); row += simdgroups) {
      of_choice += act[choice * width + row] * float(own[row * hidden]);
    }
    if (has_bias != 0 && simdgroup == 0) of_choice += bias[expert * hidden + there];
    sum += weights[choice] * of_choice;
  }
  const float2 total = sum_of_simdgroups(float2(sum, 0.0f), partial, simdgroup, lane);
  if (simdgroup == 0 && column < hidden) out[group.y * hidden + column] = T(total.x);
}

KERNELS(gate_up_dense_vector)
KERNELS(down_dense_vector)
