#pragma once
// Four neighbouring bytes of each of `lanes` weight rows times four bytes of an activation row, summed per row.
#include "ops/cpu/isa/simd.h"
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define XINSLM_UNROLL_16 _Pragma("GCC unroll 16")

namespace xinslm::XINSLM_ISA {

typedef uint8_t ByteVec __attribute__((vector_size(4 * lanes)));

XINSLM_INLINE ByteVec load_bytes(const uint8_t* p) {
  ByteVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/// The codes' low bytes.
XINSLM_INLINE void store_bytes(int8_t* to, IntVec codes) {
  typedef int8_t Part __attribute__((vector_size(lanes)));
  const Part part = __builtin_convertvector(codes, Part);
  __builtin_memcpy(to, &part, sizeof part);
}

/// `lanes` bytes as numbers.
XINSLM_INLINE IntVec widened(const uint8_t* from) {
#if defined(__AVX512F__)  // spelt out, because compilers take the conversion apart
  return bits_as<IntVec>(_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
  return bits_as<IntVec>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
  typedef uint8_t Part __attribute__((vector_size(lanes)));
  Part part;
  __builtin_memcpy(&part, from, sizeof part);
  return __builtin_convertvector(part, IntVec);
#endif
}

#if defined(__AVX2__)

// The processor multiplies unsigned bytes by signed ones. Weights become unsigned by an offset, which is taken off
// again through the sum of the activations. Without VNNI sums of two products are cut to 16 bits, too few for 8-bit
// weights with an offset: there the activations take over the weights' signs.
#if defined(__AVX512VNNI__)
constexpr int32_t dot_offset_fp4 = 12, dot_offset_q8 = 128;
#else
constexpr int32_t dot_offset_fp4 = 12, dot_offset_q8 = 0;
#endif

/// Twice the values of FP4's codes 0 to 15, and 12.
constexpr uint8_t fp4_values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct Fp4Table {  // once for each 16 bytes of a vector
  uint8_t bytes[4 * lanes];
  constexpr Fp4Table() : bytes() {
    for (int i = 0; i < 4 * lanes; ++i) bytes[i] = fp4_values[i % 16];
  }
};
constexpr Fp4Table fp4_table;

XINSLM_INLINE ByteVec look_up_fp4(ByteVec codes) {
#if defined(__AVX512F__)
  return bits_as<ByteVec>(_mm512_shuffle_epi8(bits_as<__m512i>(load_bytes(fp4_table.bytes)), bits_as<__m512i>(codes)));
#else
  return bits_as<ByteVec>(_mm256_shuffle_epi8(bits_as<__m256i>(load_bytes(fp4_table.bytes)), bits_as<__m256i>(codes)));
#endif
}
XINSLM_INLINE ByteVec fp4_of_low_nibbles(ByteVec pairs) {
  return look_up_fp4(pairs & 15);
}
XINSLM_INLINE ByteVec fp4_of_high_nibbles(ByteVec pairs) {
  return look_up_fp4(bits_as<ByteVec>(bits_as<WordVec>(pairs) >> 4) & 15);
}
XINSLM_INLINE ByteVec q8_bytes(ByteVec stored) {
#if defined(__AVX512VNNI__)
  return stored;
#else
  return stored ^ 0x80;
#endif
}

XINSLM_INLINE int32_t four_bytes(const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return word;
}

#if defined(__AVX512F__)
using Native = __m512i;
XINSLM_INLINE Native four_everywhere(const int8_t* x) {
  return _mm512_set1_epi32(four_bytes(x));
}
/// Products of unsigned and signed bytes, sums of four added to `sum`.
XINSLM_INLINE Native add_dots(Native sum, Native weights, Native x) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sum, weights, x);
#else
  const Native pairs = _mm512_maddubs_epi16(weights, x);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}
XINSLM_INLINE Native size_of(Native weights) {
  return _mm512_abs_epi8(weights);
}
XINSLM_INLINE Native with_signs_of(Native x, Native weights) {
  return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(weights), _mm512_setzero_si512(), x);
}
#else
using Native = __m256i;
XINSLM_INLINE Native four_everywhere(const int8_t* x) {
  return _mm256_set1_epi32(four_bytes(x));
}
XINSLM_INLINE Native add_dots(Native sum, Native weights, Native x) {
  const Native pairs = _mm256_maddubs_epi16(weights, x);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
XINSLM_INLINE Native size_of(Native weights) {
  return _mm256_abs_epi8(weights);
}
XINSLM_INLINE Native with_signs_of(Native x, Native weights) {
  return _mm256_sign_epi8(x, weights);
}
#endif

/// start + the dot products of each row's 32 weights with x [32].
XINSLM_INLINE IntVec dot_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  Native sum = bits_as<Native>(start);
  XINSLM_UNROLL
  for (int q = 0; q < 8; ++q) sum = add_dots(sum, bits_as<Native>(weights[q]), four_everywhere(x + 4 * q));
  return bits_as<IntVec>(sum);
}

XINSLM_INLINE IntVec dot_q8(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
#if defined(__AVX512VNNI__)
  return dot_fp4(start, weights, x);
#else
  Native sum = bits_as<Native>(start);
  XINSLM_UNROLL
  for (int q = 0; q < 8; ++q) {
    const Native w = bits_as<Native>(weights[q]);
    sum = add_dots(sum, size_of(w), with_signs_of(four_everywhere(x + 4 * q), w));
  }
  return bits_as<IntVec>(sum);
#endif
}

#else  // signed bytes throughout

constexpr int32_t dot_offset_fp4 = 0, dot_offset_q8 = 0;

XINSLM_INLINE ByteVec look_up_fp4(ByteVec codes) {
  constexpr int8_t table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
#if defined(__aarch64__)
  return bits_as<ByteVec>(vqtbl1q_s8(vld1q_s8(table), bits_as<uint8x16_t>(codes)));
#else
  ByteVec values;
  for (int i = 0; i < 4 * lanes; ++i) values[i] = static_cast<uint8_t>(table[codes[i]]);
  return values;
#endif
}
XINSLM_INLINE ByteVec fp4_of_low_nibbles(ByteVec pairs) {
  return look_up_fp4(pairs & 15);
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
#endif

}  // namespace xinslm::XINSLM_ISA
