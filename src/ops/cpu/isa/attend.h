#pragma once
// Attention of one token, for decode.cpp: plain vectors, whatever keys and values are kept in.
#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/isa/simd.h"

namespace xinslm::XINSLM_ISA {

/// Tokens whose scores are summed at a time.
constexpr int tokens_together = 4;

/// Where keys or values lie.
struct Stored {
  const char* rows;     // or null
  const float* scales;  // or null
};

/// Asks for what will be read some kilobytes later: rows of those being read, then the first of those that follow.
struct Ahead {
  Stored now, next;
  int64_t tokens, distance;

  /// To be called before tokens `token` to token + 3 are read.
  XINSLM_INLINE void ask(int64_t token, int64_t row_bytes) const {
    constexpr int64_t line = 64, scales_in_line = line / sizeof(float);
    const bool is_here = token + distance < tokens;
    const Stored& from = is_here ? now : next;
    const int64_t there = token + distance - (is_here ? 0 : tokens);
    if (!from.rows) return;
    for (int64_t i = 0; i < tokens_together * row_bytes; i += line) ask_ahead(from.rows + there * row_bytes + i, 0);
    if (from.scales && there % scales_in_line == 0) ask_ahead(from.scales + there, 0);
  }
  /// Of several passes over the same rows only the first one asks.
  XINSLM_INLINE Ahead in_pass(int64_t pass) const { return pass == 0 ? *this : Ahead{}; }
};

/// Query heads that are served at a time, so that a key or value is widened once for all of them: their sums fill the
/// registers.
constexpr int widened_heads_together = lanes == 8 ? 3 : 4;
/// Vectors of D that mix() keeps sums of.
constexpr int vectors_together = 4;

// All problems up to attend_with() have at most attend_tokens tokens.

/// D, where it is known when the kernel is compiled: the parameter `width`, which is 0 for any D.
template <int64_t width>
XINSLM_INLINE int64_t head_width(const AttendProblem& p) {
  return width > 0 ? width : p.head_dim;
}
template <int64_t number>
struct Width {
  static constexpr int64_t value = number;
};
/// Heads of gpt-oss and most small models are 64 wide: for these kernels are compiled once more, all addresses known.
template <class Run>
void with_width(const AttendProblem& p, const Run& run) {
  constexpr int64_t common = 64;
  if (p.head_dim == common) return run(Width<common>{});
  run(Width<0>{});
}

/// scores[t] = query * keys[t], scales left out, of `heads` query heads and `tokens` tokens.
template <int heads, int tokens, class T, int64_t width>
void score(const AttendProblem& p, int64_t first_head, int64_t first_token) {
  const int64_t head_dim = head_width<width>(p);
  const T* keys = static_cast<const T*>(p.keys) + first_token * head_dim;
  const float* query = p.query + first_head * head_dim;
  Vec sums[heads][tokens] = {};
  int64_t i = 0;
  for (; i + lanes <= head_dim; i += lanes) {
    Vec key[tokens];
    XINSLM_UNROLL
    for (int t = 0; t < tokens; ++t) key[t] = load(keys + t * head_dim + i);
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) {
      const Vec of_head = load(query + h * head_dim + i);
      XINSLM_UNROLL
      for (int t = 0; t < tokens; ++t) sums[h][t] += key[t] * of_head;
    }
  }
  float* scores = p.scores + first_head * p.tokens + first_token;
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) store_sums(scores + h * p.tokens, sums[h]);
  if (i == head_dim) return;
  const PartVector rest{head_dim - i};
  for (int t = 0; t < tokens; ++t) {
    const Vec key = rest(keys + t * head_dim + i);
    for (int h = 0; h < heads; ++h) scores[h * p.tokens + t] += sum(key * rest(query + h * head_dim + i));
  }
}

/// A head's scores become exp(score - largest).
/// @return their sum
inline float exponentiate(float* scores, int64_t tokens, float largest) {
  Vec total = {};
  for_vectors(tokens, [&](int64_t i, auto access) { access(scores + i, exponential(access(scores + i) - largest)); });
  for_vectors(tokens, [&](int64_t i, auto access) { total += access(scores + i); });
  return sum(total);
}

/// mixed += sum of scores[t] * values[t], scales left out, for some vectors of D from `first` on; a single one may be partial.
template <int heads, int vectors, class T, int64_t width, class Access>
void mix(const AttendProblem& p, int64_t first_head, int64_t first, Access access, const Ahead& ahead) {
  const int64_t head_dim = head_width<width>(p);
  const T* values = static_cast<const T*>(p.values) + first;
  const float* scores = p.scores + first_head * p.tokens;
  float* mixed = p.mixed + first_head * head_dim + first;
  Vec sums[heads][vectors];
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) sums[h][v] = access(mixed + h * head_dim + v * lanes);
  }
  for (int64_t token = 0; token < p.tokens; ++token) {
    if (token % tokens_together == 0) ahead.ask(token, head_dim * static_cast<int64_t>(sizeof(T)));
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const Vec value = access(values + token * head_dim + v * lanes);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) sums[h][v] += value * scores[h * p.tokens + token];
    }
  }
  XINSLM_UNROLL
  for (int h = 0; h < heads; ++h) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) access(mixed + h * head_dim + v * lanes, sums[h][v]);
  }
}

// What is done for a number of heads known when it is compiled.

template <class T, int64_t width>
struct ScoreTokens {
  static constexpr int heads_together = widened_heads_together;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, const Ahead& ahead) {
    int64_t token = 0;
    for (; token + tokens_together <= p.tokens; token += tokens_together) {
      ahead.ask(token, head_width<width>(p) * static_cast<int64_t>(sizeof(T)));
      score<heads, tokens_together, T, width>(p, first_head, token);
    }
    for (; token < p.tokens; ++token) score<heads, 1, T, width>(p, first_head, token);
  }
};

template <class T, int64_t width>
struct MixTokens {
  static constexpr int heads_together = widened_heads_together;
  template <int heads>
  static void run(const AttendProblem& p, int64_t first_head, const Ahead& ahead) {
    constexpr int64_t together = vectors_together * lanes;
    const int64_t head_dim = head_width<width>(p);
    int64_t i = 0;
    for (; i + together <= head_dim; i += together) {
      mix<heads, vectors_together, T, width>(p, first_head, i, WholeVector{}, ahead.in_pass(i));
    }
    for (; i + lanes <= head_dim; i += lanes) {
      mix<heads, 1, T, width>(p, first_head, i, WholeVector{}, ahead.in_pass(i));
    }
    if (i < head_dim) mix<heads, 1, T, width>(p, first_head, i, PartVector{head_dim - i}, ahead.in_pass(i));
  }
};

/// Work for all heads of the group; the first of them ask for what comes next.
template <class Work>
void for_heads(const AttendProblem& p, const Ahead& ahead) {
  int64_t head = 0;
  for (; head + Work::heads_together <= p.group; head += Work::heads_together) {
    Work::template run<Work::heads_together>(p, head, ahead.in_pass(head));
  }
  const int64_t left = p.group - head;
  if (left == 3) Work::template run<3>(p, head, ahead.in_pass(head));
  if (left == 2) Work::template run<2>(p, head, ahead.in_pass(head));
  if (left == 1) Work::template run<1>(p, head, ahead.in_pass(head));
}

/// numbers *= factors, where there are any.
inline void multiply_by(float* numbers, const float* factors, int64_t count) {
  if (!factors) return;
  for_vectors(count, [&](int64_t i, auto access) { access(numbers + i, access(numbers + i) * access(factors + i)); });
}

/// The scores of some tokens become weights, which values' scales are brought to as keys' scales are to scores; and what
/// was summed before becomes relative to the largest of all so far (Milakov & Gimelshein 2018).
template <class Exponentiate>
void weigh(const AttendProblem& p, int64_t head, const Exponentiate& exponentiate) {
  float* scores = p.scores + head * p.tokens;
  multiply_by(scores, p.key_scales, p.tokens);
  Vec most = all(p.largest[head]);
  int64_t token = 0;
  for (; token + lanes <= p.tokens; token += lanes) most = larger_of(most, load(scores + token));
  float largest = maximum(most);
  for (; token < p.tokens; ++token) largest = larger(largest, scores[token]);
  const float before = p.largest[head], factor = before < largest ? __builtin_expf(before - largest) : 1;
  p.largest[head] = largest;
  p.total[head] = p.total[head] * factor + exponentiate(scores, p.tokens, largest);
  multiply_by(scores, p.value_scales, p.tokens);
  if (factor == 1) return;
  float* mixed = p.mixed + head * p.head_dim;
  for_vectors(p.head_dim, [&](int64_t i, auto access) { access(mixed + i, access(mixed + i) * factor); });
}

/// Keys and values in turns, with a running softmax, so that scores take little room however many tokens there are.
/// @param T             what keys and values are kept in
/// @param exponentiate  makes weights of a head's scores, for Mix
template <class T, class Score, class Mix, class Exponentiate>
void attend_with(const AttendProblem& p, const Exponentiate& exponentiate) {
  constexpr int64_t bytes_ahead = 8192;
  const int64_t row_bytes = p.head_dim * static_cast<int64_t>(sizeof(T));
  const int64_t distance = bytes_ahead / row_bytes / tokens_together * tokens_together;
  const auto stored = [&](const void* rows, const float* scales, int64_t token) {
    return Stored{static_cast<const char*>(rows) + token * row_bytes, scales ? scales + token : nullptr};
  };
  for (int64_t head = 0; head < p.group; ++head) {
    p.largest[head] = -infinity;
    p.total[head] = 0;
  }
  for (int64_t i = 0; i < p.group * p.head_dim; ++i) p.mixed[i] = 0;
  for (int64_t begin = 0, end; begin < p.tokens; begin = end) {
    end = smaller(begin + attend_tokens, p.tokens);
    const Stored keys = stored(p.keys, p.key_scales, begin), values = stored(p.values, p.value_scales, begin);
    const Stored next_keys = end < p.tokens ? stored(p.keys, p.key_scales, end) : Stored{};
    AttendProblem part = p;
    part.tokens = end - begin;
    part.keys = keys.rows;
    part.values = values.rows;
    part.key_scales = keys.scales;
    part.value_scales = values.scales;
    for_heads<Score>(part, {keys, values, part.tokens, distance});
    for (int64_t head = 0; head < p.group; ++head) weigh(part, head, exponentiate);
    for_heads<Mix>(part, {values, next_keys, part.tokens, distance});
  }
}

template <class T>
void attend(const AttendProblem& p) {
  with_width(p, [&](auto width) {
    attend_with<T, ScoreTokens<T, width.value>, MixTokens<T, width.value>>(p, exponentiate);
  });
}

}  // namespace xinslm::XINSLM_ISA
