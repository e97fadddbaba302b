#pragma once
// Attention of one token to keys and values in bytes with a scale for each token. Queries are rounded to 8 bits, 32
// numbers with one scale, and weights times the values' scales to 16.
#include "ops/cpu/isa/attend_dot.h"

#ifdef XINSLM_ATTEND_DOT

namespace xinslm::XINSLM_ISA {

constexpr int64_t byte_chunk = 64;   // numbers in a vector
constexpr int64_t query_block = 32;  // of a query, with one scale

/// @param a, b  unsigned and signed bytes
XINSLM_INLINE void add_byte_products(IntVec& sum, __m512i a, __m512i b) {
  sum = bits_as<IntVec>(_mm512_dpbusd_epi32(bits_as<__m512i>(sum), a, b));
}

/// Scores of heads from `first_head` on, keys' scales left out.
template <int heads, int64_t width>
struct ByteScores {
  const AttendProblem& p;
  int64_t first_head, head_dim;
  __m512i query[widest_head / byte_chunk][heads][4];  // spread_words()
  IntVec offset[widest_head / byte_chunk][heads];     // what keys with 128 added bring too much, negative
  float scales[widest_head / byte_chunk][heads][2];   // of 32 numbers each

  ByteScores(const AttendProblem& p, int64_t first_head)
      : p(p), first_head(first_head), head_dim(head_width<width>(p)) {
    for (int64_t chunk = 0; chunk * byte_chunk < head_dim; ++chunk) {
      for (int h = 0; h < heads; ++h) {
        int8_t codes[byte_chunk];
        for (int half = 0; half < 2; ++half) {
          const float* from = p.query + (first_head + h) * head_dim + chunk * byte_chunk + half * query_block;
          scales[chunk][h][half] = quantize(from, codes + half * query_block);
        }
        spread_words(load_words(codes), query[chunk][h]);
        IntVec sums = {};
        for (int j = 0; j < 4; ++j) add_byte_products(sums, _mm512_set1_epi8(-128), query[chunk][h][j]);
        offset[chunk][h] = -sums;
      }
    }
  }

  template <bool whole>
  void run(int64_t token, int64_t rows, const Ahead& ahead) const {
    const KeptRows<whole> keys{static_cast<const char*>(p.keys) + token * head_dim, head_dim, rows};
    Vec scores[heads] = {};
    for (int64_t chunk = 0; chunk * byte_chunk < head_dim; ++chunk) {
      IntVec sums[heads][4];  // of tokens 4 * g to 4 * g + 3, in each quarter
      XINSLM_UNROLL
      for (int g = 0; g < 4; ++g) {
        if (chunk == 0) ahead.ask(token + 4 * g, head_dim);
        __m512i words[4], key[4];
        XINSLM_UNROLL
        for (int t = 0; t < 4; ++t) {
          words[t] = _mm512_xor_si512(load_words(keys(4 * g + t) + chunk * byte_chunk), _mm512_set1_epi8(-128));
        }
        interleave_words(words, key);
        XINSLM_UNROLL
        for (int h = 0; h < heads; ++h) {
          sums[h][g] = offset[chunk][h];
          XINSLM_UNROLL
          for (int j = 0; j < 4; ++j) add_byte_products(sums[h][g], key[j], query[chunk][h][j]);
        }
      }
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) {
        // The first half is in quarters 0 and 1, the second in 2 and 3.
        const auto a = bits_as<__m512i>(fold_quarters(sums[h][0], sums[h][1]));
        const auto b = bits_as<__m512i>(fold_quarters(sums[h][2], sums[h][3]));
        const Vec first = __builtin_convertvector(bits_as<IntVec>(even_quarters(a, b)), Vec);
        const Vec second = __builtin_convertvector(bits_as<IntVec>(odd_quarters(a, b)), Vec);
        scores[h] += first * scales[chunk][h][0] + second * scales[chunk][h][1];
      }
    }
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      float* to = p.scores + (first_head + h) * p.tokens + token;
      _mm512_mask_storeu_ps(to, first_lanes(rows), bits_as<__m512>(scores[h]));
    }
  }

 private:
  /// Half of a chunk to bytes. @return the scale
  static float quantize(const float* from, int8_t* codes) {
    Vec most = {};
    for (int i = 0; i < query_block; i += lanes) most = larger_of(most, larger_of(load(from + i), -load(from + i)));
    const float largest = maximum(most), inverse = code_factor(127.0f, largest);
    for (int i = 0; i < query_block; i += lanes) {
      const __m512i rounded = _mm512_maskz_cvtps_epi32(0xffff, bits_as<__m512>(load(from + i) * inverse));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_maskz_cvtepi32_epi8(0xffff, rounded));
    }
    return largest / 127;
  }
};

/// Tokens whose weights become codes together.
constexpr int64_t tokens_coded = 4 * lanes;
static_assert(attend_tokens % tokens_coded == 0);

/// Where the lower bytes of 64 numbers lie in ByteWeights::store_bytes().
struct BytePlaces {
  uint8_t of_lower[64] = {};
  constexpr BytePlaces() {
    for (int i = 0; i < 64; ++i) of_lower[i] = static_cast<uint8_t>(i / 32 * 64 + i % 16 * 4 + i % 32 / 16 * 2);
  }
};
inline constexpr BytePlaces byte_places;

/// Weights of tokens in 16 bits, upper and lower bytes apart; zero beyond.
struct ByteWeights {
  uint8_t upper[attend_tokens], lower[attend_tokens];
  float step;  // what 1 is worth

  /// @param weights  [tokens] at least 0
  void set(const float* weights, int64_t tokens) {
    Vec most = {};
    for (int64_t i = 0; i < tokens; i += lanes) {
      most = larger_of(load_lanes(first_lanes(tokens - i), weights + i), most);
    }
    const float largest = maximum(most);
    const float inverse = code_factor(65535.0f, largest);
    step = largest / 65535;
    for (int64_t i = 0; i < tokens; i += tokens_coded) {
      WordVec codes[4];
      XINSLM_UNROLL
      for (int64_t v = 0; v < 4; ++v) {
        const int64_t first = i + v * lanes;
        const Vec steps = load_lanes(first_lanes(tokens - first), weights + first) * inverse;
        codes[v] = bits_as<WordVec>(_mm512_maskz_cvtps_epi32(0xffff, bits_as<__m512>(steps)));
      }
      store_bytes(codes, lower + i, upper + i);
    }
  }

 private:
  /// Of 64 numbers of 16 bits, the lower and the upper bytes.
  static XINSLM_INLINE void store_bytes(const WordVec (&codes)[4], uint8_t* lower, uint8_t* upper) {
    // Vectors 0 and 1 in the halves of one vector's words, 2 and 3 in those of another's.
    const auto a = bits_as<__m512i>(codes[0] | codes[1] << 16), b = bits_as<__m512i>(codes[2] | codes[3] << 16);
    const __m512i places = load_words(byte_places.of_lower);
    _mm512_storeu_si512(lower, _mm512_permutex2var_epi8(a, places, b));
    _mm512_storeu_si512(upper, _mm512_permutex2var_epi8(a, _mm512_add_epi8(places, _mm512_set1_epi8(1)), b));
  }
};

/// mixed += sum of scores[t] * values[t], 64 values from chunk * 64 on.
template <int heads, int64_t width>
void mix_bytes(const AttendProblem& p, int64_t first_head, int64_t chunk, const ByteWeights (&weights)[heads],
               const Ahead& ahead) {
  const int64_t head_dim = head_width<width>(p);
  const char* first = static_cast<const char*>(p.values) + chunk * byte_chunk;
  IntVec upper[heads][4] = {}, lower[heads][4] = {};
  const auto add = [&](const auto& values, int64_t token) __attribute__((always_inline)) {
    __m512i rows[4];
    XINSLM_UNROLL
    for (int t = 0; t < 4; ++t) rows[t] = load_words(values(token + t));
    const __m512i a = _mm512_unpacklo_epi8(rows[0], rows[1]), b = _mm512_unpackhi_epi8(rows[0], rows[1]);
    const __m512i c = _mm512_unpacklo_epi8(rows[2], rows[3]), d = _mm512_unpackhi_epi8(rows[2], rows[3]);
    const __m512i value[4] = {_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c), _mm512_unpacklo_epi16(b, d),
                              _mm512_unpackhi_epi16(b, d)};  // [k]: dimensions 16 * L + 4 * k to 4 * k + 3
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      const __m512i high = all_words(weights[h].upper + token), low = all_words(weights[h].lower + token);
      XINSLM_UNROLL
      for (int k = 0; k < 4; ++k) {
        add_byte_products(upper[h][k], high, value[k]);
        add_byte_products(lower[h][k], low, value[k]);
      }
    }
  };
  const int64_t whole = p.tokens / 4 * 4;
  for (int64_t token = 0; token < whole; token += 4) {
    ahead.ask(token, head_dim);
    add(KeptRows<true>{first, head_dim, p.tokens}, token);
  }
  if (whole < p.tokens) add(KeptRows<false>{first, head_dim, p.tokens}, whole);
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    __m512i sums[4];
    XINSLM_UNROLL
    for (int k = 0; k < 4; ++k) {
      const Vec sum = __builtin_convertvector(upper[h][k], Vec) * 256.0f + __builtin_convertvector(lower[h][k], Vec);
      sums[k] = bits_as<__m512i>(sum * weights[h].step);
    }
    // Quarter L of the four is the L-th vector of values.
    const __m512i a = even_quarters(sums[0], sums[1]), b = even_quarters(sums[2], sums[3]);
    const __m512i c = odd_quarters(sums[0], sums[1]), d = odd_quarters(sums[2], sums[3]);
    const __m512i ordered[4] = {even_quarters(a, b), even_quarters(c, d), odd_quarters(a, b), odd_quarters(c, d)};
    float* mixed = p.mixed + (first_head + h) * head_dim + chunk * byte_chunk;
    XINSLM_UNROLL
    for (int k = 0; k < 4; ++k, mixed += lanes) store(mixed, load(mixed) + bits_as<Vec>(ordered[k]));
  }
}

/// A head's scores become exp(score - largest).
/// @return their sum
inline float exponentiate_for_bytes(float* scores, int64_t tokens, float largest) {
  Vec total = {};
  for (int64_t i = 0; i < tokens; i += lanes) {
    const __mmask16 there = first_lanes(tokens - i);
    const Vec weights = short_weights(there, scores + i, largest);
    _mm512_mask_storeu_ps(scores + i, there, bits_as<__m512>(weights));
    total += weights;
  }
  return sum(total);
}

template <int64_t width>
struct MixBytes {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, const Ahead& ahead) {
    ByteWeights weights[heads];
    for (int h = 0; h < heads; ++h) weights[h].set(p.scores + (first_head + h) * p.tokens, p.tokens);
    for (int64_t i = 0; i * byte_chunk < head_width<width>(p); ++i) {
      mix_bytes<heads, width>(p, first_head, i, weights, ahead.in_pass(i));
    }
  }
};

inline void attend_bytes(const AttendProblem& p) {
  if (p.head_dim % byte_chunk != 0 || p.head_dim > widest_head) return attend<int8_t>(p);
  with_width(p, [&](auto width) {
    attend_with<int8_t, ScoreBy<ByteScores, width.value>, MixBytes<width.value>>(p, exponentiate_for_bytes);
  });
}

}  // namespace xinslm::XINSLM_ISA

#endif
