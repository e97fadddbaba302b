#pragma once
// What attend_pairs.h and attend_bytes.h have in common: attention of one token by the instructions that sum products
// of pairs of bfloat16, or of four bytes. Keys and values are not widened, and sums are folded for 16 tokens together.
#include "ops/cpu/isa/attend.h"

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#define XINSLM_ATTEND_DOT

namespace xinslm::XINSLM_ISA {

/// Tokens that are scored together: one vector of scores.
constexpr int tokens_scored = 16;
/// Query heads served by one pass over keys or values.
constexpr int heads_in_pass = 3;
/// Widest head that these kernels take.
constexpr int64_t widest_head = 256;

XINSLM_INLINE __m512i load_words(const void* from) {
  return _mm512_loadu_si512(from);
}
/// The first `count` of 16 lanes, or all of them; none where it is negative.
XINSLM_INLINE __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count < lanes ? (1u << larger<int64_t>(count, 0)) - 1 : 0xffff);
}
/// Those numbers; 0 in the other lanes, whose memory is not read.
XINSLM_INLINE Vec load_lanes(__mmask16 there, const float* from) {
  return bits_as<Vec>(_mm512_maskz_loadu_ps(there, from));
}
XINSLM_INLINE __m512i all_words(const void* word) {
  int32_t value;
  __builtin_memcpy(&value, word, sizeof value);
  return _mm512_set1_epi32(value);
}

/// e^(score - largest) of scores up to the largest, within 1e-5 of itself: for weights that are rounded to 16 bits.
/// 0 in lanes that are not there. A polynomial for 2^x of least relative error on [-1/2, 1/2].
XINSLM_INLINE Vec short_weights(__mmask16 there, const float* scores, float largest) {
  constexpr float log2_e = 1.44269504089f;
  const Vec power = multiply_add(load_lanes(there, scores), all(log2_e), all(-largest * log2_e));
  const Vec n = bits_as<Vec>(_mm512_maskz_roundscale_ps(0xffff, bits_as<__m512>(power), 0));
  const Vec r = power - n;
  Vec p = all(0.00966637f);
  p = multiply_add(p, r, all(0.05592198f));
  p = multiply_add(p, r, all(0.24022349f));
  p = multiply_add(p, r, all(0.69312105f));
  p = multiply_add(p, r, all(1.0f));
  return bits_as<Vec>(_mm512_maskz_scalef_ps(there, bits_as<__m512>(p), bits_as<__m512>(n)));
}

/// Four rows of 16 words; word 4 * L + j of row t becomes word 4 * L + t of out[j].
XINSLM_INLINE void interleave_words(const __m512i (&rows)[4], __m512i (&out)[4]) {
  const __m512i a = _mm512_maskz_unpacklo_epi32(0xffff, rows[0], rows[1]);
  const __m512i b = _mm512_maskz_unpackhi_epi32(0xffff, rows[0], rows[1]);
  const __m512i c = _mm512_maskz_unpacklo_epi32(0xffff, rows[2], rows[3]);
  const __m512i d = _mm512_maskz_unpackhi_epi32(0xffff, rows[2], rows[3]);
  out[0] = _mm512_maskz_unpacklo_epi64(0xff, a, c);
  out[1] = _mm512_maskz_unpackhi_epi64(0xff, a, c);
  out[2] = _mm512_maskz_unpacklo_epi64(0xff, b, d);
  out[3] = _mm512_maskz_unpackhi_epi64(0xff, b, d);
}

/// The counterpart for a row that all four meet: word 4 * L + j at words 4 * L to 4 * L + 3 of out[j].
XINSLM_INLINE void spread_words(__m512i row, __m512i (&out)[4]) {
  out[0] = _mm512_maskz_shuffle_epi32(0xffff, row, _MM_PERM_AAAA);
  out[1] = _mm512_maskz_shuffle_epi32(0xffff, row, _MM_PERM_BBBB);
  out[2] = _mm512_maskz_shuffle_epi32(0xffff, row, _MM_PERM_CCCC);
  out[3] = _mm512_maskz_shuffle_epi32(0xffff, row, _MM_PERM_DDDD);
}

/// Two quarters of `a`, then two of `b`, each given by two bits of the order.
template <int order>
XINSLM_INLINE __m512i shuffle_quarters(__m512i a, __m512i b) {
  return _mm512_maskz_shuffle_i64x2(0xff, a, b, order);
}
/// Quarters 0 and 2, or 1 and 3, of `a` and then of `b`.
XINSLM_INLINE __m512i even_quarters(__m512i a, __m512i b) {
  return shuffle_quarters<0x88>(a, b);
}
XINSLM_INLINE __m512i odd_quarters(__m512i a, __m512i b) {
  return shuffle_quarters<0xdd>(a, b);
}
/// Sums of neighbouring quarters, of `a` and then of `b`.
template <class Numbers>
XINSLM_INLINE Numbers fold_quarters(Numbers a, Numbers b) {
  const auto x = bits_as<__m512i>(a), y = bits_as<__m512i>(b);
  return bits_as<Numbers>(even_quarters(x, y)) + bits_as<Numbers>(odd_quarters(x, y));
}

/// Addresses of rows from `first` on; beyond `rows` of them the last one again, unless all are there.
template <bool whole>
struct KeptRows {
  const char* first;
  int64_t row_bytes, rows;
  XINSLM_INLINE const char* operator()(int64_t row) const {
    return first + (whole ? row : smaller(row, rows - 1)) * row_bytes;
  }
};

/// What for_heads() does first, by the kind of scores: 16 tokens at a time; the last may be fewer.
template <template <int heads, int64_t width> class Scores, int64_t width>
struct ScoreBy {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, const Ahead& ahead) {
    const Scores<heads, width> scores(p, first_head);
    int64_t token = 0;
    for (; token + tokens_scored <= p.tokens; token += tokens_scored) {
      scores.template run<true>(token, tokens_scored, ahead);
    }
    if (token < p.tokens) scores.template run<false>(token, p.tokens - token, {});
  }
};

}  // namespace xinslm::XINSLM_ISA

#endif
