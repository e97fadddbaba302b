#pragma once
// Attention of one token to keys and values in bytes with a scale for each block of 32. Queries are rounded to 8 bits a
// block, weights times the values' scales to 16 bits.
#include "ops/cpu/isa/attend_dot.h"

#ifdef XINSLM_ATTEND_DOT

namespace xinslm::XINSLM_ISA {

constexpr int64_t byte_chunk = 64;  // numbers in a vector: two blocks

/// A chunk's two scales of each of 16 rows.
struct ChunkScales {
  Vec first, second;
};
/// @param rows  those that are there; the others' scales are 0
XINSLM_INLINE ChunkScales read_scales(const float* scales, int64_t head_dim, int64_t row, int64_t chunk, int64_t rows) {
  const int64_t blocks = head_dim / 32;
  const auto* from = reinterpret_cast<const double*>(scales + row * blocks + chunk * 2);  // both scales at a time
  const auto first_rows = static_cast<__mmask8>(first_lanes(rows));
  const auto last_rows = static_cast<__mmask8>(first_lanes(rows) >> 8);
  __m512d low, high;
  if (blocks == 2) {
    low = _mm512_maskz_loadu_pd(first_rows, from);
    high = _mm512_maskz_loadu_pd(last_rows, from + 8);
  } else {
    const __m256i numbers = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                               _mm256_set1_epi32(static_cast<int>(blocks / 2)));
    low = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), first_rows, numbers, from, 8);
    high = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), last_rows, numbers, from + 4 * blocks, 8);
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const auto a = bits_as<__m512>(low), b = bits_as<__m512>(high);
  return {bits_as<Vec>(_mm512_permutex2var_ps(a, even, b)), bits_as<Vec>(_mm512_permutex2var_ps(a, odd, b))};
}

/// @param a, b  unsigned and signed bytes
XINSLM_INLINE void add_byte_products(IntVec& sum, __m512i a, __m512i b) {
  sum = bits_as<IntVec>(_mm512_dpbusd_epi32(bits_as<__m512i>(sum), a, b));
}

/// Scores of heads from `first_head` on.
template <int heads, int64_t width>
struct ByteScores {
  const AttendProblem& p;
  int64_t first_head, head_dim;
  __m512i query[widest_head / byte_chunk][heads][4];  // spread_words()
  IntVec offset[widest_head / byte_chunk][heads];     // what keys with 128 added bring too much, negative
  float scales[widest_head / byte_chunk][heads][2];

  ByteScores(const AttendProblem& p, int64_t first_head)
      : p(p), first_head(first_head), head_dim(head_width<width>(p)) {
    for (int64_t chunk = 0; chunk * byte_chunk < head_dim; ++chunk) {
      for (int h = 0; h < heads; ++h) {
        const float* from = p.query + (first_head + h) * head_dim + chunk * byte_chunk;
        int8_t codes[byte_chunk];
        scales[chunk][h][0] = quantize_block(from, codes);
        scales[chunk][h][1] = quantize_block(from + 32, codes + 32);
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
          words[t] = _mm512_xor_si512(load_words(keys(4 * g + t) + chunk * 64), _mm512_set1_epi8(-128));
        }
        interleave_words(words, key);
        XINSLM_UNROLL
        for (int h = 0; h < heads; ++h) {
          sums[h][g] = offset[chunk][h];
          XINSLM_UNROLL
          for (int j = 0; j < 4; ++j) add_byte_products(sums[h][g], key[j], query[chunk][h][j]);
        }
      }
      const ChunkScales of_keys = read_scales(p.key_scales, head_dim, token, chunk, rows);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) {
        // The first block is in quarters 0 and 1, the second in 2 and 3.
        const auto a = bits_as<__m512i>(fold_quarters(sums[h][0], sums[h][1]));
        const auto b = bits_as<__m512i>(fold_quarters(sums[h][2], sums[h][3]));
        const Vec first = __builtin_convertvector(bits_as<IntVec>(even_quarters(a, b)), Vec);
        const Vec second = __builtin_convertvector(bits_as<IntVec>(odd_quarters(a, b)), Vec);
        scores[h] += first * (of_keys.first * scales[chunk][h][0]) + second * (of_keys.second * scales[chunk][h][1]);
      }
    }
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      float* to = p.scores + (first_head + h) * p.tokens + token;
      _mm512_mask_storeu_ps(to, first_lanes(rows), bits_as<__m512>(scores[h]));
    }
  }

 private:
  /// 32 numbers to bytes; returns their scale.
  static float quantize_block(const float* from, int8_t* codes) {
    const Vec a = load(from), b = load(from + lanes);
    const float largest = maximum(larger_of(larger_of(a, -a), larger_of(b, -b)));
    const float inverse = largest > 0 ? 127 / largest : 0;
    store_bytes(codes, a * inverse);
    store_bytes(codes + lanes, b * inverse);
    return largest / 127;
  }
  static XINSLM_INLINE void store_bytes(int8_t* to, Vec v) {
    const __m512i rounded = _mm512_maskz_cvtps_epi32(0xffff, bits_as<__m512>(v));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_maskz_cvtepi32_epi8(0xffff, rounded));
  }
};

/// Tokens whose weights become codes together.
constexpr int64_t tokens_coded = 4 * lanes;
static_assert(attend_tokens % tokens_coded == 0);

/// Scales of a block of some tokens' values.
struct StepScales {
  float steps[attend_tokens];
  float largest;

  /// Scales become parts of the largest in 65535ths, and zero up to whole tokens_coded.
  void set(int64_t tokens) {
    Vec most = {};
    for (int64_t i = 0; i < tokens; i += lanes) most = larger_of(load(steps + i), most);
    largest = maximum(most);
    const float inverse = largest > 0 ? 65535 / largest : 0;
    int64_t i = 0;
    for (; i < tokens; i += lanes) store(steps + i, load(steps + i) * inverse);
    for (; i % tokens_coded != 0; i += lanes) store(steps + i, Vec{});
  }
};

/// Where the lower bytes of 64 numbers lie in ByteWeights::store_bytes().
struct BytePlaces {
  uint8_t of_lower[64] = {};
  constexpr BytePlaces() {
    for (int i = 0; i < 64; ++i) of_lower[i] = static_cast<uint8_t>(i / 32 * 64 + i % 16 * 4 + i % 32 / 16 * 2);
  }
};
inline constexpr BytePlaces byte_places;

/// Weights of tokens times their values' scales in 16 bits, upper and lower bytes apart, for two blocks; zero beyond.
struct ByteWeights {
  uint8_t upper[2][attend_tokens], lower[2][attend_tokens];
  float step[2];  // what 1 is worth

  /// @param weights  [tokens] at least 0
  void set(const float* weights, const StepScales (&scales)[2], int64_t tokens) {
    Vec most = {};
    for (int64_t i = 0; i < tokens; i += lanes) most = larger_of(part(weights, i, tokens), most);
    const float largest = maximum(most);
    const float inverse = largest > 0 ? 1 / largest : 0;
    for (int block = 0; block < 2; ++block) step[block] = largest * scales[block].largest / 65535;
    for (int64_t i = 0; i < tokens; i += tokens_coded) {
      Vec shares[4];
      XINSLM_UNROLL
      for (int64_t v = 0; v < 4; ++v) shares[v] = part(weights, i + v * lanes, tokens) * inverse;
      XINSLM_UNROLL
      for (int block = 0; block < 2; ++block) {
        WordVec codes[4];
        XINSLM_UNROLL
        for (int v = 0; v < 4; ++v) {
          const Vec steps = shares[v] * load(scales[block].steps + i + v * lanes);
          codes[v] = bits_as<WordVec>(_mm512_maskz_cvtps_epi32(0xffff, bits_as<__m512>(steps)));
        }
        store_bytes(codes, lower[block] + i, upper[block] + i);
      }
    }
  }

 private:
  static XINSLM_INLINE Vec part(const float* weights, int64_t i, int64_t tokens) {
    return load_lanes(first_lanes(tokens - i), weights + i);
  }
  /// Of 64 numbers of 16 bits, the lower and the upper bytes.
  static XINSLM_INLINE void store_bytes(const WordVec (&codes)[4], uint8_t* lower, uint8_t* upper) {
    // Vectors 0 and 1 in the halves of one vector's words, 2 and 3 in those of another's.
    const auto a = bits_as<__m512i>(codes[0] | codes[1] << 16), b = bits_as<__m512i>(codes[2] | codes[3] << 16);
    const __m512i places = load_words(byte_places.of_lower);
    _mm512_storeu_si512(lower, _mm512_permutex2var_epi8(a, places, b));
    _mm512_storeu_si512(upper, _mm512_permutex2var_epi8(a, _mm512_add_epi8(places, _mm512_set1_epi8(1)), b));
  }
};

/// The words at `first` in the lower half of a vector, those at `second` in the upper one.
XINSLM_INLINE __m512i word_of_each_block(const uint8_t* first, const uint8_t* second) {
  int32_t upper;
  __builtin_memcpy(&upper, second, sizeof upper);
  return _mm512_mask_set1_epi32(all_words(first), 0xff00, upper);
}

/// mixed += sum of scores[t] * values[t], 64 values from chunk * 64 on.
template <int heads, int64_t width>
void mix_bytes(const AttendProblem& p, int64_t first_head, int64_t chunk, const Ahead& ahead) {
  const int64_t head_dim = head_width<width>(p);
  StepScales scales[2];
  for (int64_t token = 0; token < p.tokens; token += tokens_scored) {
    const ChunkScales some =
        read_scales(p.value_scales, head_dim, token, chunk, smaller<int64_t>(p.tokens - token, tokens_scored));
    store(scales[0].steps + token, some.first);
    store(scales[1].steps + token, some.second);
  }
  for (StepScales& of_block : scales) of_block.set(p.tokens);
  ByteWeights weights[heads];
  for (int h = 0; h < heads; ++h) weights[h].set(p.scores + (first_head + h) * p.tokens, scales, p.tokens);
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
      const __m512i high = word_of_each_block(weights[h].upper[0] + token, weights[h].upper[1] + token);
      const __m512i low = word_of_each_block(weights[h].lower[0] + token, weights[h].lower[1] + token);
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
    const IntVec is_first = lane_numbers() < 8;
    const Vec step = select(is_first, all(weights[h].step[0]), all(weights[h].step[1]));
    __m512i sums[4];
    XINSLM_UNROLL
    for (int k = 0; k < 4; ++k) {
      const Vec sum = __builtin_convertvector(upper[h][k], Vec) * 256.0f + __builtin_convertvector(lower[h][k], Vec);
      sums[k] = bits_as<__m512i>(sum * step);
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
    for (int64_t i = 0; i * byte_chunk < head_width<width>(p); ++i) {
      mix_bytes<heads, width>(p, first_head, i, ahead.in_pass(i));
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
