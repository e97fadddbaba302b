#pragma once
// Dot products of signed bytes, with NEON's instructions where they are, for packed_dot.h, which includes it.
#include "ops/cpu/isa/packed_dot.h"
#ifdef __aarch64__
#include <arm_neon.h>
#endif

namespace xinslm::XINSLM_ISA {

constexpr int32_t dot_offset_fp4 = 0, dot_offset_q8 = 0, dot_offset_shifted = 0;

/// Twice the values of FP4's codes 0 to 15.
constexpr int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// A table for look_up().
XINSLM_INLINE ByteVec sixteen_bytes(const void* table) {
  return load_bytes(static_cast<const uint8_t*>(table));
}
/// The table's byte of each code, which is the lower half of a byte.
XINSLM_INLINE ByteVec look_up(ByteVec table, ByteVec codes) {
#if defined(__aarch64__)
  return bits_as<ByteVec>(vqtbl1q_u8(bits_as<uint8x16_t>(table), bits_as<uint8x16_t>(codes & 15)));
#else
  ByteVec values;
  for (int i = 0; i < 4 * lanes; ++i) values[i] = table[codes[i] & 15];
  return values;
#endif
}
/// The first eight bytes of `a` and of `b` in turns.
XINSLM_INLINE ByteVec interleave_low(ByteVec a, ByteVec b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
XINSLM_INLINE ByteVec interleave_high(ByteVec a, ByteVec b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

XINSLM_INLINE ByteVec look_up_fp4(ByteVec codes) {
  return look_up(sixteen_bytes(fp4_values), codes);
}
XINSLM_INLINE ByteVec fp4_of_low_nibbles(ByteVec pairs) {
  return look_up_fp4(pairs);
}
XINSLM_INLINE ByteVec fp4_of_high_nibbles(ByteVec pairs) {
  return look_up_fp4(pairs >> 4);
}
XINSLM_INLINE ByteVec q8_bytes(ByteVec stored) {
  return stored ^ 0x80;
}

#if defined(__ARM_FEATURE_DOTPROD)
XINSLM_INLINE IntVec dot_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  int32x4_t sum = bits_as<int32x4_t>(start);
  const int8x16_t low = vld1q_s8(x), high = vld1q_s8(x + 16);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[0]), low, 0);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[1]), low, 1);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[2]), low, 2);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[3]), low, 3);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[4]), high, 0);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[5]), high, 1);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[6]), high, 2);
  sum = vdotq_laneq_s32(sum, bits_as<int8x16_t>(weights[7]), high, 3);
  return bits_as<IntVec>(sum);
}
#else
XINSLM_INLINE IntVec dot_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  for (int q = 0; q < 8; ++q) {
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < 4; ++i) start[lane] += static_cast<int8_t>(weights[q][4 * lane + i]) * x[4 * q + i];
    }
  }
  return start;
}
#endif

XINSLM_INLINE IntVec dot_q8(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  return dot_fp4(start, weights, x);
}

// Products of 2 x 8 by 8 x 2 bytes, twice as fast as dot products, for two rows of activations.
#if defined(__ARM_FEATURE_MATMUL_INT8)
/// Turns vectors of four bytes of four weight rows into those of eight bytes of two.
XINSLM_INLINE void pair_up(ByteVec (&weights)[8]) {
  XINSLM_UNROLL
  for (int q = 0; q < 8; q += 2) {
    const uint32x4_t first = bits_as<uint32x4_t>(weights[q]), second = bits_as<uint32x4_t>(weights[q + 1]);
    weights[q] = bits_as<ByteVec>(vzip1q_u32(first, second));
    weights[q + 1] = bits_as<ByteVec>(vzip2q_u32(first, second));
  }
}

/// sums[i] = the dot products of each weight row with row i of x and y, both [32].
XINSLM_INLINE void dot_pairs(const ByteVec (&weights)[8], const int8_t* x, const int8_t* y, IntVec (&sums)[2]) {
  int32x4_t low = vdupq_n_s32(0), high = low;  // [2 rows of activations, 2 of weights] each
  XINSLM_UNROLL
  for (int q = 0; q < 8; q += 2) {
    const int8x16_t both = vcombine_s8(vld1_s8(x + 4 * q), vld1_s8(y + 4 * q));
    low = vmmlaq_s32(low, both, bits_as<int8x16_t>(weights[q]));
    high = vmmlaq_s32(high, both, bits_as<int8x16_t>(weights[q + 1]));
  }
  sums[0] = bits_as<IntVec>(vzip1q_s64(bits_as<int64x2_t>(low), bits_as<int64x2_t>(high)));
  sums[1] = bits_as<IntVec>(vzip2q_s64(bits_as<int64x2_t>(low), bits_as<int64x2_t>(high)));
}
#endif

}  // namespace xinslm::XINSLM_ISA
