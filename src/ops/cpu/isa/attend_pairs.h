#pragma once
// Attention of one token to keys and values in bfloat16. Queries and weights are rounded to it, as attention in
// bfloat16 does everywhere.
#include "ops/cpu/isa/attend_dot.h"

#ifdef XINSLM_ATTEND_DOT

namespace xinslm::XINSLM_ISA {

constexpr int64_t pair_chunk = 64;  // numbers in two vectors

XINSLM_INLINE void add_pair_products(Vec& sum, __m512i a, __m512i b) {
  sum = bits_as<Vec>(_mm512_dpbf16_ps(bits_as<__m512>(sum), bits_as<__m512bh>(a), bits_as<__m512bh>(b)));
}

/// Scores of heads from `first_head` on.
template <int heads, int64_t width>
struct PairScores {
  const AttendProblem& p;
  int64_t first_head, head_dim;
  __m512i query[widest_head / pair_chunk][2][heads][4];  // spread_words() of either vector

  PairScores(const AttendProblem& p, int64_t first_head)
      : p(p), first_head(first_head), head_dim(head_width<width>(p)) {
    for (int64_t chunk = 0; chunk * pair_chunk < head_dim; ++chunk) {
      for (int h = 0; h < heads; ++h) {
        const float* from = p.query + (first_head + h) * head_dim + chunk * pair_chunk;
        uint16_t rounded[pair_chunk];
        for (int64_t i = 0; i < pair_chunk; i += lanes) store(rounded + i, load(from + i));
        for (int v = 0; v < 2; ++v) spread_words(load_words(rounded + v * 32), query[chunk][v][h]);
      }
    }
  }

  template <bool whole>
  void run(int64_t token, int64_t rows, const Ahead& ahead) const {
    const int64_t row_bytes = head_dim * 2;
    const KeptRows<whole> keys{static_cast<const char*>(p.keys) + token * row_bytes, row_bytes, rows};
    Vec sums[heads][4] = {};  // of tokens 4 * g to 4 * g + 3, in each quarter
    XINSLM_UNROLL
    for (int g = 0; g < 4; ++g) {
      ahead.ask(token + 4 * g, row_bytes);
      for (int64_t chunk = 0; chunk * pair_chunk < head_dim; ++chunk) {
        __m512i words[2][4];
        XINSLM_UNROLL
        for (int t = 0; t < 4; ++t) {
          const char* from = keys(4 * g + t) + chunk * 2 * 64;
          words[0][t] = load_words(from);
          words[1][t] = load_words(from + 64);
        }
        XINSLM_UNROLL
        for (int v = 0; v < 2; ++v) {
          __m512i key[4];
          interleave_words(words[v], key);
          XINSLM_UNROLL
          for (int h = 0; h < heads; ++h) {
            XINSLM_UNROLL
            for (int j = 0; j < 4; ++j) add_pair_products(sums[h][g], key[j], query[chunk][v][h][j]);
          }
        }
      }
    }
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      const Vec scores = fold_quarters(fold_quarters(sums[h][0], sums[h][1]), fold_quarters(sums[h][2], sums[h][3]));
      _mm512_mask_storeu_ps(p.scores + (first_head + h) * p.tokens + token, first_lanes(rows), bits_as<__m512>(scores));
    }
  }
};

/// A head's scores become exp(score - largest) in bfloat16, in the first half of their place, and a zero if their
/// number is odd.
/// @return their sum
inline float exponentiate_to_pairs(float* scores, int64_t tokens, float largest) {
  char* to = reinterpret_cast<char*>(scores);
  Vec total = {};
  for (int64_t i = 0; i < tokens; i += lanes) {
    const __mmask16 there = first_lanes(tokens - i);
    const HalfVec rounded = round_to_bfloat16(short_weights(there, scores + i, largest));
    total += bits_as<Vec>(words_of(rounded) << 16);
    _mm256_mask_storeu_epi16(to + 2 * i, static_cast<__mmask16>(there | there << 1), bits_as<__m256i>(rounded));
  }
  return sum(total);
}

/// mixed += sum of scores[t] * values[t], values from chunk * 64 on.
template <int heads, int64_t width>
void mix_pairs(const AttendProblem& p, int64_t first_head, int64_t chunk, const Ahead& ahead) {
  const int64_t head_dim = head_width<width>(p);
  const int64_t row_bytes = head_dim * 2;
  const char* values = static_cast<const char*>(p.values) + chunk * 2 * 64;
  const char* weights[heads];
  for (int h = 0; h < heads; ++h) weights[h] = reinterpret_cast<const char*>(p.scores + (first_head + h) * p.tokens);
  Vec sums[heads][2][2] = {};
  for (int64_t token = 0; token < p.tokens; token += 2) {
    if (token % tokens_together == 0) ahead.ask(token, row_bytes);
    const char* even = values + token * row_bytes;
    const char* odd = token + 1 < p.tokens ? even + row_bytes : even;  // its weight is the zero then
    XINSLM_UNROLL
    for (int v = 0; v < 2; ++v) {
      const __m512i a = load_words(even + v * 64), b = load_words(odd + v * 64);
      const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) {
        const __m512i weight = all_words(weights[h] + token * 2);
        add_pair_products(sums[h][v][0], low, weight);
        add_pair_products(sums[h][v][1], high, weight);
      }
    }
  }
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    float* mixed = p.mixed + (first_head + h) * head_dim + chunk * pair_chunk;
    XINSLM_UNROLL
    for (int v = 0; v < 2; ++v, mixed += 2 * lanes) {
      // Quarters of `low` and `high` in turns are the values' order.
      const auto low = bits_as<__m512i>(sums[h][v][0]), high = bits_as<__m512i>(sums[h][v][1]);
      const __m512i front = shuffle_quarters<0x44>(low, high), back = shuffle_quarters<0xee>(low, high);
      store(mixed, load(mixed) + bits_as<Vec>(shuffle_quarters<0xd8>(front, front)));
      store(mixed + lanes, load(mixed + lanes) + bits_as<Vec>(shuffle_quarters<0xd8>(back, back)));
    }
  }
}

template <int64_t width>
struct MixPairs {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, const Ahead& ahead) {
    for (int64_t i = 0; i * pair_chunk < head_width<width>(p); ++i) {
      mix_pairs<heads, width>(p, first_head, i, ahead.in_pass(i));
    }
  }
};

inline void attend_pairs(const AttendProblem& p) {
  if (p.head_dim % pair_chunk != 0 || p.head_dim > widest_head) return attend<Bfloat16>(p);
  with_width(p, [&](auto width) {
    attend_with<Bfloat16, ScoreBy<PairScores, width.value>, MixPairs<width.value>>(p, exponentiate_to_pairs);
  });
}

}  // namespace xinslm::XINSLM_ISA

#endif
