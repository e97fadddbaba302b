#pragma once
// Dot products of bytes on x86, for packed_dot.h, which includes it.
#include "ops/cpu/isa/packed_dot.h"

namespace xinslm::XINSLM_ISA {

// The processor multiplies unsigned bytes by signed ones. Weights become unsigned by an offset, which is taken off
// again through the sum of the activations. Without VNNI sums of two products are cut to 16 bits, too few for 8-bit
// weights with an offset: there the activations take over the weights' signs.
#if defined(__AVX512VNNI__)
constexpr int32_t dot_offset_fp4 = 12, dot_offset_q8 = 128, dot_offset_shifted = 96;
#else
constexpr int32_t dot_offset_fp4 = 12, dot_offset_q8 = 0, dot_offset_shifted = 0;
#endif

/// Twice the values of FP4's codes 0 to 15, and 12.
constexpr uint8_t fp4_values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/// A table for look_up(): once for each 16 bytes of a vector.
XINSLM_INLINE ByteVec sixteen_bytes(const uint8_t* table) {
  const __m128i once = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
#if defined(__AVX512F__)
  return bits_as<ByteVec>(_mm512_maskz_broadcast_i32x4(0xffff, once));
#else
  return bits_as<ByteVec>(_mm256_broadcastsi128_si256(once));
#endif
}
/// The table's byte of each code, which is the lower half of a byte.
XINSLM_INLINE ByteVec look_up(ByteVec table, ByteVec codes) {
#if defined(__AVX512VBMI__)
  // The lower six bits of a byte choose among 64, four times the same sixteen.
  return bits_as<ByteVec>(_mm512_maskz_permutexvar_epi8(~__mmask64{0}, bits_as<__m512i>(codes),
                                                        bits_as<__m512i>(table)));
#elif defined(__AVX512F__)
  return bits_as<ByteVec>(_mm512_shuffle_epi8(bits_as<__m512i>(table), bits_as<__m512i>(codes & 15)));
#else
  return bits_as<ByteVec>(_mm256_shuffle_epi8(bits_as<__m256i>(table), bits_as<__m256i>(codes & 15)));
#endif
}
/// Of each 16 bytes the first eight of `a` and of `b` in turns.
XINSLM_INLINE ByteVec interleave_low(ByteVec a, ByteVec b) {
#if defined(__AVX512F__)
  return bits_as<ByteVec>(_mm512_unpacklo_epi8(bits_as<__m512i>(a), bits_as<__m512i>(b)));
#else
  return bits_as<ByteVec>(_mm256_unpacklo_epi8(bits_as<__m256i>(a), bits_as<__m256i>(b)));
#endif
}
XINSLM_INLINE ByteVec interleave_high(ByteVec a, ByteVec b) {
#if defined(__AVX512F__)
  return bits_as<ByteVec>(_mm512_unpackhi_epi8(bits_as<__m512i>(a), bits_as<__m512i>(b)));
#else
  return bits_as<ByteVec>(_mm256_unpackhi_epi8(bits_as<__m256i>(a), bits_as<__m256i>(b)));
#endif
}

XINSLM_INLINE ByteVec look_up_fp4(ByteVec codes) {
  return look_up(sixteen_bytes(fp4_values), codes);
}
XINSLM_INLINE ByteVec fp4_of_low_nibbles(ByteVec pairs) {
  return look_up_fp4(pairs);
}
XINSLM_INLINE ByteVec fp4_of_high_nibbles(ByteVec pairs) {
  return look_up_fp4(bits_as<ByteVec>(bits_as<WordVec>(pairs) >> 4));
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
/// Products of unsigned and signed bytes, neighbours added: 16 bits.
XINSLM_INLINE Native pair_products(Native weights, Native x) {
  return _mm512_maddubs_epi16(weights, x);
}
XINSLM_INLINE Native add_16(Native a, Native b) {
  return _mm512_add_epi16(a, b);
}
/// Neighbours of 16 bits added to `sum`.
XINSLM_INLINE Native add_pairs(Native sum, Native pairs) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
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
XINSLM_INLINE Native pair_products(Native weights, Native x) {
  return _mm256_maddubs_epi16(weights, x);
}
XINSLM_INLINE Native add_16(Native a, Native b) {
  return _mm256_add_epi16(a, b);
}
XINSLM_INLINE Native add_pairs(Native sum, Native pairs) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
XINSLM_INLINE Native size_of(Native weights) {
  return _mm256_abs_epi8(weights);
}
XINSLM_INLINE Native with_signs_of(Native x, Native weights) {
  return _mm256_sign_epi8(x, weights);
}
#endif

#if defined(__AVX512VNNI__)
/// sum + the dot products of four weights of each row with x [4].
XINSLM_INLINE IntVec add_dot(IntVec sum, ByteVec weights, const int8_t* x) {
  return bits_as<IntVec>(_mm512_dpbusd_epi32(bits_as<Native>(sum), bits_as<Native>(weights), four_everywhere(x)));
}

/// start + the dot products of each row's 32 weights with x [32].
XINSLM_INLINE IntVec dot_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  IntVec sum = start;
  XINSLM_UNROLL
  for (int q = 0; q < 8; ++q) sum = add_dot(sum, weights[q], x + 4 * q);
  return sum;
}

/// Weights of exponents up to 3 above a common one, brought to it: 12 more than the value, in 5 bits, becomes 96 more
/// than up to 8 times the value.
struct ShiftedFp4 {
  IntVec shift;
  ByteVec offset;

  XINSLM_INLINE explicit ShiftedFp4(IntVec shift)
      : shift(shift),
        offset(bits_as<ByteVec>((dot_offset_shifted - (all_int(dot_offset_fp4) << shift)) * 0x01010101)) {}
  XINSLM_INLINE ByteVec operator()(ByteVec weights) const {
    return bits_as<ByteVec>(bits_as<IntVec>(weights) << shift) + offset;
  }
};

XINSLM_INLINE IntVec dot_q8(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  return dot_fp4(start, weights, x);
}
#else
/// start + the dot products of each row's 32 weights with x [32]. Weights are at most 24 here, so four sums of two
/// products with 127 still fit into 16 bits.
XINSLM_INLINE IntVec dot_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  Native sum = bits_as<Native>(start);
  XINSLM_UNROLL
  for (int half = 0; half < 8; half += 4) {
    Native pairs = pair_products(bits_as<Native>(weights[half]), four_everywhere(x + 4 * half));
    XINSLM_UNROLL
    for (int q = half + 1; q < half + 4; ++q) {
      pairs = add_16(pairs, pair_products(bits_as<Native>(weights[q]), four_everywhere(x + 4 * q)));
    }
    sum = add_pairs(sum, pairs);
  }
  return bits_as<IntVec>(sum);
}

#ifndef __AVX512F__
#define XINSLM_BRAIDED_FP4
/// Of two neighbouring vectors, which hold four columns of each row, the first gets the even rows' first columns and the
/// odd rows' second ones, the second the others, rows swapped in pairs. Both then meet the same eight activations, which
/// is half of the loads.
XINSLM_INLINE void braid(ByteVec (&weights)[8]) {
  XINSLM_UNROLL
  for (int q = 0; q < 8; q += 2) {
    const Native a = bits_as<Native>(weights[q]), b = bits_as<Native>(weights[q + 1]);
    weights[q] = bits_as<ByteVec>(_mm256_blend_epi32(a, b, 0xaa));
    weights[q + 1] = bits_as<ByteVec>(_mm256_shuffle_epi32(_mm256_blend_epi32(b, a, 0xaa), 0xb1));
  }
}

/// dot_fp4() of weights that were braided.
XINSLM_INLINE IntVec dot_braided_fp4(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  Native straight = {}, swapped = {};
  XINSLM_UNROLL
  for (int q = 0; q < 8; q += 2) {
    int64_t eight;
    __builtin_memcpy(&eight, x + 4 * q, sizeof eight);
    const Native everywhere = _mm256_set1_epi64x(eight);
    straight = add_16(straight, pair_products(bits_as<Native>(weights[q]), everywhere));
    swapped = add_16(swapped, pair_products(bits_as<Native>(weights[q + 1]), everywhere));
  }
  const Native sum = add_pairs(bits_as<Native>(start), straight);
  const Native others = _mm256_madd_epi16(swapped, _mm256_set1_epi16(1));
  return bits_as<IntVec>(_mm256_add_epi32(sum, _mm256_shuffle_epi32(others, 0xb1)));
}
#endif

XINSLM_INLINE IntVec dot_q8(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
  Native sum = bits_as<Native>(start);
  XINSLM_UNROLL
  for (int q = 0; q < 8; ++q) {
    const Native w = bits_as<Native>(weights[q]);
    sum = add_pairs(sum, pair_products(size_of(w), with_signs_of(four_everywhere(x + 4 * q), w)));
  }
  return bits_as<IntVec>(sum);
}
#endif

}  // namespace xinslm::XINSLM_ISA
