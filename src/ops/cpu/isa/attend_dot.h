#pragma once
// Attention of one token by the instructions that sum products of pairs of bfloat16 or of four bytes, where there are
// such: keys and values are not widened, and sums are folded for 16 tokens together.
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
/// Of keys or values, which are read once and in order: also asks for what is read some time later.
XINSLM_INLINE __m512i load_kept(const char* from) {
  constexpr int64_t ahead = 8192;  // bytes: some 100 ns
  __builtin_prefetch(from + ahead);
  return load_words(from);
}
/// The first `count` of 16 lanes, or all of them.
XINSLM_INLINE __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count < lanes ? (1u << count) - 1 : 0xffff);
}
XINSLM_INLINE __m512i all_words(const void* word) {
  int32_t value;
  __builtin_memcpy(&value, word, sizeof value);
  return _mm512_set1_epi32(value);
}

/// Four rows of 16 words; word 4 * L + j of row t becomes word 4 * L + t of out[j].
XINSLM_INLINE void interleave_words(const __m512i (&rows)[4], __m512i (&out)[4]) {
  const __m512i a = _mm512_maskz_unpacklo_epi32(0xffff, rows[0], rows[1]), b = _mm512_maskz_unpackhi_epi32(0xffff, rows[0], rows[1]);
  const __m512i c = _mm512_maskz_unpacklo_epi32(0xffff, rows[2], rows[3]), d = _mm512_maskz_unpackhi_epi32(0xffff, rows[2], rows[3]);
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

/// What a kernel does for `heads` heads and all of a stretch's groups of 16 tokens, the last of which may be partial.
template <class Scored>
XINSLM_INLINE void for_groups_of_tokens(int64_t begin, int64_t end, const Scored& scored) {
  int64_t token = begin;
  for (; token + tokens_scored <= end; token += tokens_scored) scored.template run<true>(token, tokens_scored);
  if (token < end) scored.template run<false>(token, end - token);
}

// Pairs of bfloat16. Queries and weights are rounded to it, as attention in bfloat16 does everywhere.

constexpr int64_t pair_chunk = 32;  // numbers in a vector

/// Scores of heads from `first_head` on.
template <int heads>
struct PairScores {
  const AttendProblem& p;
  int64_t first_head;
  __m512i query[widest_head / pair_chunk][heads][4];  // spread_words()

  PairScores(const AttendProblem& p, int64_t first_head) : p(p), first_head(first_head) {
    for (int64_t chunk = 0; chunk * pair_chunk < p.head_dim; ++chunk) {
      for (int h = 0; h < heads; ++h) {
        const float* from = p.query + (first_head + h) * p.head_dim + chunk * pair_chunk;
        uint16_t rounded[pair_chunk];
        store(rounded, load(from));
        store(rounded + lanes, load(from + lanes));
        spread_words(load_words(rounded), query[chunk][h]);
      }
    }
  }

  template <bool whole>
  void run(int64_t token, int64_t rows) const {
    const int64_t row_bytes = p.head_dim * 2;
    const KeptRows<whole> keys{static_cast<const char*>(p.keys) + token * row_bytes, row_bytes, rows};
    Vec sums[heads][4] = {};  // of tokens 4 * g to 4 * g + 3, in each quarter
    for (int64_t chunk = 0; chunk * pair_chunk < p.head_dim; ++chunk) {
      XINSLM_UNROLL
      for (int g = 0; g < 4; g += 2) {
        __m512i first[4], second[4];
        read(keys, 4 * g, chunk, first);
        read(keys, 4 * g + 4, chunk, second);
        XINSLM_UNROLL
        for (int h = 0; h < heads; ++h) {
          XINSLM_UNROLL
          for (int j = 0; j < 4; ++j) {
            add_products(sums[h][g], first[j], query[chunk][h][j]);
            add_products(sums[h][g + 1], second[j], query[chunk][h][j]);
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

  static XINSLM_INLINE void add_products(Vec& sum, __m512i a, __m512i b) {
    sum = bits_as<Vec>(_mm512_dpbf16_ps(bits_as<__m512>(sum), bits_as<__m512bh>(a), bits_as<__m512bh>(b)));
  }

 private:
  template <class Rows>
  static XINSLM_INLINE void read(const Rows& keys, int64_t row, int64_t chunk, __m512i (&out)[4]) {
    __m512i words[4];
    XINSLM_UNROLL
    for (int t = 0; t < 4; ++t) words[t] = load_kept(keys(row + t) + chunk * 64);
    interleave_words(words, out);
  }
};

/// A head's scores become exp(score - largest) in bfloat16, in the first half of their place, and a zero if their
/// number is odd.
inline void exponentiate_to_pairs(const AttendProblem& p, int64_t head) {
  exponentiate(p, head);
  float* from = p.scores + head * p.tokens;
  char* to = reinterpret_cast<char*>(from);
  Vec total = {};
  for (int64_t i = 0; i < p.tokens; i += lanes) {
    const __mmask16 there = first_lanes(p.tokens - i);
    const HalfVec rounded = round_to_bfloat16(bits_as<Vec>(_mm512_maskz_loadu_ps(there, from + i)));
    total += bits_as<Vec>(words_of(rounded) << 16);
    _mm256_mask_storeu_epi16(to + 2 * i, static_cast<__mmask16>(there | there << 1), bits_as<__m256i>(rounded));
  }
  p.total[head] = sum(total);
}

/// mixed += sum of scores[t] * values[t], `chunks` vectors of values from `first` on.
template <int heads, int chunks>
void mix_pairs(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end, int64_t first) {
  const int64_t row_bytes = p.head_dim * 2;
  const char* values = static_cast<const char*>(p.values) + first * 2;
  const char* weights[heads];
  for (int h = 0; h < heads; ++h) weights[h] = reinterpret_cast<const char*>(p.scores + (first_head + h) * p.tokens);
  Vec sums[heads][chunks][2] = {};
  for (int64_t token = begin; token < end; token += 2) {
    const char* even = values + token * row_bytes;
    const char* odd = token + 1 < end ? even + row_bytes : even;  // its weight is the zero then
    XINSLM_UNROLL
    for (int c = 0; c < chunks; ++c) {
      const __m512i a = load_kept(even + c * 64), b = load_kept(odd + c * 64);
      const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) {
        const __m512i weight = all_words(weights[h] + token * 2);
        PairScores<heads>::add_products(sums[h][c][0], low, weight);
        PairScores<heads>::add_products(sums[h][c][1], high, weight);
      }
    }
  }
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    float* mixed = p.mixed + (first_head + h) * p.head_dim + first;
    XINSLM_UNROLL
    for (int c = 0; c < chunks; ++c, mixed += 2 * lanes) {
      // Quarters of `low` and `high` in turns are the values' order.
      const auto low = bits_as<__m512i>(sums[h][c][0]), high = bits_as<__m512i>(sums[h][c][1]);
      const __m512i front = shuffle_quarters<0x44>(low, high), back = shuffle_quarters<0xee>(low, high);
      store(mixed, load(mixed) + bits_as<Vec>(shuffle_quarters<0xd8>(front, front)));
      store(mixed + lanes, load(mixed + lanes) + bits_as<Vec>(shuffle_quarters<0xd8>(back, back)));
    }
  }
}

struct ScorePairs {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    for_groups_of_tokens(begin, end, PairScores<heads>(p, first_head));
  }
};

struct MixPairs {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    int64_t i = 0;
    for (; i + 2 * pair_chunk <= p.head_dim; i += 2 * pair_chunk) mix_pairs<heads, 2>(p, first_head, begin, end, i);
    if (i < p.head_dim) mix_pairs<heads, 1>(p, first_head, begin, end, i);
  }
};

inline void attend_pairs(const AttendProblem& p) {
  if (p.head_dim % pair_chunk != 0 || p.head_dim > widest_head) return attend<Bfloat16>(p);
  attend_with<ScorePairs, MixPairs>(p, exponentiate_to_pairs);
}

// Bytes with a scale for each block of 32. Queries are rounded to 8 bits a block, weights times the values' scales to
// 16 bits a stretch of tokens.

constexpr int64_t byte_chunk = 64;  // numbers in a vector: two blocks

/// A chunk's two scales of each of 16 rows.
struct ChunkScales {
  Vec first, second;
};
/// @param rows  those that are there; the others' scales are 0
XINSLM_INLINE ChunkScales read_scales(const float* scales, int64_t head_dim, int64_t row, int64_t chunk, int64_t rows) {
  const int64_t blocks = head_dim / 32;
  const auto* from = reinterpret_cast<const double*>(scales + row * blocks + chunk * 2);  // both scales at a time
  const auto first_rows = static_cast<__mmask8>(first_lanes(rows)), last_rows = static_cast<__mmask8>(first_lanes(rows) >> 8);
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

template <int heads>
struct ByteScores {
  const AttendProblem& p;
  int64_t first_head;
  __m512i query[widest_head / byte_chunk][heads][4];  // spread_words()
  IntVec offset[widest_head / byte_chunk][heads];     // what keys with 128 added bring too much, negative
  float scales[widest_head / byte_chunk][heads][2];

  ByteScores(const AttendProblem& p, int64_t first_head) : p(p), first_head(first_head) {
    for (int64_t chunk = 0; chunk * byte_chunk < p.head_dim; ++chunk) {
      for (int h = 0; h < heads; ++h) {
        const float* from = p.query + (first_head + h) * p.head_dim + chunk * byte_chunk;
        int8_t codes[byte_chunk];
        scales[chunk][h][0] = quantize_block(from, codes);
        scales[chunk][h][1] = quantize_block(from + 32, codes + 32);
        spread_words(load_words(codes), query[chunk][h]);
        IntVec sums = {};
        for (int j = 0; j < 4; ++j) add_products(sums, _mm512_set1_epi8(-128), query[chunk][h][j]);
        offset[chunk][h] = -sums;
      }
    }
  }

  template <bool whole>
  void run(int64_t token, int64_t rows) const {
    const KeptRows<whole> keys{static_cast<const char*>(p.keys) + token * p.head_dim, p.head_dim, rows};
    Vec scores[heads] = {};
    for (int64_t chunk = 0; chunk * byte_chunk < p.head_dim; ++chunk) {
      IntVec sums[heads][4];  // of tokens 4 * g to 4 * g + 3, in each quarter
      XINSLM_UNROLL
      for (int g = 0; g < 4; ++g) {
        __m512i words[4], key[4];
        XINSLM_UNROLL
        for (int t = 0; t < 4; ++t) {
          words[t] = _mm512_xor_si512(load_kept(keys(4 * g + t) + chunk * 64), _mm512_set1_epi8(-128));
        }
        interleave_words(words, key);
        XINSLM_UNROLL
        for (int h = 0; h < heads; ++h) {
          sums[h][g] = offset[chunk][h];
          XINSLM_UNROLL
          for (int j = 0; j < 4; ++j) add_products(sums[h][g], key[j], query[chunk][h][j]);
        }
      }
      const ChunkScales of_keys = read_scales(p.key_scales, p.head_dim, token, chunk, rows);
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

  /// @param a, b  unsigned and signed bytes
  static XINSLM_INLINE void add_products(IntVec& sum, __m512i a, __m512i b) {
    sum = bits_as<IntVec>(_mm512_dpbusd_epi32(bits_as<__m512i>(sum), a, b));
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

/// Weights of a stretch's tokens times their values' scales in 16 bits, upper and lower bytes apart; zero beyond.
struct ByteWeights {
  uint8_t upper[tokens_cached], lower[tokens_cached];
  float step;

  /// @param weights  [tokens] at least 0
  /// @param scales   [tokens_cached]
  void set(const float* weights, const float* scales, int64_t tokens) {
    const auto product = [&](int64_t i) __attribute__((always_inline)) {
      return bits_as<Vec>(_mm512_maskz_loadu_ps(first_lanes(tokens - i), weights + i)) * load(scales + i);
    };
    Vec most = {};
    for (int64_t i = 0; i < tokens; i += lanes) most = larger_of(product(i), most);
    const float largest = maximum(most);
    const float inverse = largest > 0 ? 65535 / largest : 0;
    step = largest / 65535;
    for (int64_t i = 0; i < tokens; i += lanes) {
      const auto codes = bits_as<WordVec>(_mm512_maskz_cvtps_epi32(0xffff, bits_as<__m512>(product(i) * inverse)));
      store_bytes(lower + i, codes);
      store_bytes(upper + i, codes >> 8);
    }
  }

 private:
  static XINSLM_INLINE void store_bytes(uint8_t* to, WordVec words) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_maskz_cvtepi32_epi8(0xffff, bits_as<__m512i>(words)));
  }
};

/// The words at `first` in the lower half of a vector, those at `second` in the upper one.
XINSLM_INLINE __m512i word_of_each_block(const uint8_t* first, const uint8_t* second) {
  int32_t upper;
  __builtin_memcpy(&upper, second, sizeof upper);
  return _mm512_mask_set1_epi32(all_words(first), 0xff00, upper);
}

/// mixed += sum of scores[t] * values[t] of at most tokens_cached tokens, 64 values from chunk * 64 on.
template <int heads>
void mix_bytes(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end, int64_t chunk) {
  float scales[2][tokens_cached];
  for (int64_t token = begin; token < end; token += tokens_scored) {
    const ChunkScales read =
        read_scales(p.value_scales, p.head_dim, token, chunk, smaller<int64_t>(end - token, tokens_scored));
    store(scales[0] + token - begin, read.first);
    store(scales[1] + token - begin, read.second);
  }
  ByteWeights weights[heads][2];
  for (int h = 0; h < heads; ++h) {
    const float* of_head = p.scores + (first_head + h) * p.tokens + begin;
    for (int block = 0; block < 2; ++block) weights[h][block].set(of_head, scales[block], end - begin);
  }
  const char* first = static_cast<const char*>(p.values) + begin * p.head_dim + chunk * byte_chunk;
  IntVec upper[heads][4] = {}, lower[heads][4] = {};
  const auto add = [&](const auto& values, int64_t token) __attribute__((always_inline)) {
    __m512i rows[4];
    XINSLM_UNROLL
    for (int t = 0; t < 4; ++t) rows[t] = load_kept(values(token + t));
    const __m512i a = _mm512_unpacklo_epi8(rows[0], rows[1]), b = _mm512_unpackhi_epi8(rows[0], rows[1]);
    const __m512i c = _mm512_unpacklo_epi8(rows[2], rows[3]), d = _mm512_unpackhi_epi8(rows[2], rows[3]);
    const __m512i value[4] = {_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c), _mm512_unpacklo_epi16(b, d),
                              _mm512_unpackhi_epi16(b, d)};  // [k]: dimensions 16 * L + 4 * k to 4 * k + 3
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      const __m512i high = word_of_each_block(weights[h][0].upper + token, weights[h][1].upper + token);
      const __m512i low = word_of_each_block(weights[h][0].lower + token, weights[h][1].lower + token);
      XINSLM_UNROLL
      for (int k = 0; k < 4; ++k) {
        ByteScores<heads>::add_products(upper[h][k], high, value[k]);
        ByteScores<heads>::add_products(lower[h][k], low, value[k]);
      }
    }
  };
  const int64_t tokens = end - begin, whole = tokens / 4 * 4;
  for (int64_t token = 0; token < whole; token += 4) add(KeptRows<true>{first, p.head_dim, tokens}, token);
  if (whole < tokens) add(KeptRows<false>{first, p.head_dim, tokens}, whole);
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    const IntVec is_first = lane_numbers() < 8;
    const Vec step = select(is_first, all(weights[h][0].step), all(weights[h][1].step));
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
    float* mixed = p.mixed + (first_head + h) * p.head_dim + chunk * byte_chunk;
    XINSLM_UNROLL
    for (int k = 0; k < 4; ++k, mixed += lanes) store(mixed, load(mixed) + bits_as<Vec>(ordered[k]));
  }
}

struct ScoreBytes {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    for_groups_of_tokens(begin, end, ByteScores<heads>(p, first_head));
  }
};

struct MixBytes {
  static constexpr int heads_together = heads_in_pass;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    for (int64_t chunk = 0; chunk * byte_chunk < p.head_dim; ++chunk) mix_bytes<heads>(p, first_head, begin, end, chunk);
  }
};

inline void attend_bytes(const AttendProblem& p) {
  if (p.head_dim % byte_chunk != 0 || p.head_dim > widest_head) return attend<int8_t>(p);
  attend_with<ScoreBytes, MixBytes>(p, exponentiate);
}

}  // namespace xinslm::XINSLM_ISA

#endif
