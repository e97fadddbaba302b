#pragma once
// Attention of one token, for decode.cpp: plain vectors, whatever keys and values are kept in.
#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/isa/simd.h"

namespace xinslm::XINSLM_ISA {

/// Rows of keys or values of one head, as they are kept.
template <class T>
struct Rows {
  const T* values;
  int64_t width;
  Rows(const void* values, const float*, int64_t width) : values(static_cast<const T*>(values)), width(width) {}

  template <class Access>
  XINSLM_INLINE Vec at(int64_t row, int64_t i, Access access) const {
    return access(values + row * width + i);
  }
};

/// Widths are multiples of a block of 32, so there is no partial vector.
template <>
struct Rows<int8_t> {
  const int8_t* values;
  const float* scales;
  int64_t width;
  Rows(const void* values, const float* scales, int64_t width)
      : values(static_cast<const int8_t*>(values)), scales(scales), width(width) {}

  template <class Access>
  XINSLM_INLINE Vec at(int64_t row, int64_t i, Access) const {
    return __builtin_convertvector(widened(values + row * width + i), Vec) * scales[row * (width / 32) + i / 32];
  }
};

/// Query heads that are served at a time, so that a key or value is widened once for all of them: their sums fill the
/// registers.
constexpr int widened_heads_together = lanes == 8 ? 3 : 4;
/// Tokens whose scores are summed at a time.
constexpr int tokens_together = 4;
/// Vectors of D that mix() keeps sums of.
constexpr int vectors_together = 4;
/// Tokens whose keys or values stay in the first cache while heads and parts of D take turns.
constexpr int64_t tokens_cached = 128;

/// scores[t] = query * keys[t], of `heads` query heads and `tokens` tokens.
template <int heads, int tokens, class T>
void score(const AttendProblem& p, int64_t first_head, int64_t first_token) {
  const Rows<T> keys(p.keys, p.key_scales, p.head_dim);
  const float* query = p.query + first_head * p.head_dim;
  Vec sums[heads][tokens] = {};
  int64_t i = 0;
  for (; i + lanes <= p.head_dim; i += lanes) {
    Vec key[tokens];
    XINSLM_UNROLL
    for (int t = 0; t < tokens; ++t) key[t] = keys.at(first_token + t, i, WholeVector{});
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      const Vec of_head = load(query + h * p.head_dim + i);
      XINSLM_UNROLL
      for (int t = 0; t < tokens; ++t) sums[h][t] += key[t] * of_head;
    }
  }
  float* scores = p.scores + first_head * p.tokens + first_token;
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) store_sums(scores + h * p.tokens, sums[h]);
  if (i == p.head_dim) return;
  const PartVector rest{p.head_dim - i};
  for (int t = 0; t < tokens; ++t) {
    const Vec key = keys.at(first_token + t, i, rest);
    for (int h = 0; h < heads; ++h) scores[h * p.tokens + t] += sum(key * rest(query + h * p.head_dim + i));
  }
}

/// scores become exp(score - largest).
inline void exponentiate(const AttendProblem& p, int64_t head) {
  float* scores = p.scores + head * p.tokens;
  Vec most = all(-infinity);
  int64_t token = 0;
  for (; token + lanes <= p.tokens; token += lanes) most = larger_of(most, load(scores + token));
  float largest = maximum(most);
  for (; token < p.tokens; ++token) largest = larger(largest, scores[token]);
  Vec total = {};
  for_vectors(p.tokens, [&](int64_t i, auto access) { access(scores + i, exponential(access(scores + i) - largest)); });
  for_vectors(p.tokens, [&](int64_t i, auto access) { total += access(scores + i); });
  p.largest[head] = largest;
  p.total[head] = sum(total);
}

/// mixed += sum of scores[t] * values[t] over tokens [begin, end), for some vectors of D from `first` on; a single
/// one may be partial.
template <int heads, int vectors, class T, class Access>
void mix(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end, int64_t first, Access access) {
  const Rows<T> values(p.values, p.value_scales, p.head_dim);
  const float* scores = p.scores + first_head * p.tokens;
  float* mixed = p.mixed + first_head * p.head_dim + first;
  Vec sums[heads][vectors];
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) sums[h][v] = access(mixed + h * p.head_dim + v * lanes);
  }
  for (int64_t token = begin; token < end; ++token) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const Vec value = values.at(token, first + v * lanes, access);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) sums[h][v] += value * scores[h * p.tokens + token];
    }
  }
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) access(mixed + h * p.head_dim + v * lanes, sums[h][v]);
  }
}

/// What is done with tokens [begin, end) for a number of heads known when it is compiled.
template <class T>
struct ScoreTokens {
  static constexpr int heads_together = widened_heads_together;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    int64_t token = begin;
    for (; token + tokens_together <= end; token += tokens_together) {
      score<heads, tokens_together, T>(p, first_head, token);
    }
    for (; token < end; ++token) score<heads, 1, T>(p, first_head, token);
  }
};

template <class T>
struct MixTokens {
  static constexpr int heads_together = widened_heads_together;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, int64_t begin, int64_t end) {
    constexpr int64_t width = vectors_together * lanes;
    int64_t i = 0;
    for (; i + width <= p.head_dim; i += width) {
      mix<heads, vectors_together, T>(p, first_head, begin, end, i, WholeVector{});
    }
    for (; i + lanes <= p.head_dim; i += lanes) mix<heads, 1, T>(p, first_head, begin, end, i, WholeVector{});
    if (i < p.head_dim) mix<heads, 1, T>(p, first_head, begin, end, i, PartVector{p.head_dim - i});
  }
};

/// Work for all heads of the group, with tokens in stretches that stay in the first cache.
template <class Work>
void for_heads_and_tokens(const AttendProblem& p) {
  for (int64_t begin = 0; begin < p.tokens; begin += tokens_cached) {
    const int64_t end = smaller(begin + tokens_cached, p.tokens);
    int64_t head = 0;
    for (; head + Work::heads_together <= p.group; head += Work::heads_together) {
      Work::template run<Work::heads_together>(p, head, begin, end);
    }
    const int64_t left = p.group - head;
    if (left == 3) Work::template run<3>(p, head, begin, end);
    if (left == 2) Work::template run<2>(p, head, begin, end);
    if (left == 1) Work::template run<1>(p, head, begin, end);
  }
}

/// @param exponentiate  makes weights of a head's scores, for Mix
template <class Score, class Mix, class Exponentiate>
void attend_with(const AttendProblem& p, const Exponentiate& exponentiate) {
  for_heads_and_tokens<Score>(p);
  for (int64_t head = 0; head < p.group; ++head) exponentiate(p, head);
  for (int64_t i = 0; i < p.group * p.head_dim; ++i) p.mixed[i] = 0;
  for_heads_and_tokens<Mix>(p);
}

template <class T>
void attend(const AttendProblem& p) {
  attend_with<ScoreTokens<T>, MixTokens<T>>(p, exponentiate);
}

}  // namespace xinslm::XINSLM_ISA
