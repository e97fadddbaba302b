#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/isa/simd.h"

namespace xinslm::XINSLM_ISA {
namespace {

constexpr float infinity = __builtin_inff();

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
    typedef int8_t Part __attribute__((vector_size(lanes)));
    Part part;
    __builtin_memcpy(&part, values + row * width + i, sizeof part);
    return __builtin_convertvector(part, Vec) * scales[row * (width / 32) + i / 32];
  }
};

/// scores[t] = query * keys[t] for up to `heads` query heads, so that each key is read once for them.
template <int heads, class T>
void score(const AttendProblem& p, int64_t first_head) {
  const Rows<T> keys(p.keys, p.key_scales, p.head_dim);
  const float* query = p.query + first_head * p.head_dim;
  for (int64_t token = 0; token < p.tokens; ++token) {
    Vec sums[heads] = {};
    for_vectors(p.head_dim, [&](int64_t i, auto access) {
      const Vec key = keys.at(token, i, access);
      XINSLM_UNROLL
      for (int h = 0; h < heads; ++h) sums[h] += key * access(query + h * p.head_dim + i);
    });
    XINSLM_UNROLL
    for (int h = 0; h < heads; ++h) p.scores[(first_head + h) * p.tokens + token] = sum(sums[h]);
  }
}

/// scores become exp(score - largest).
void exponentiate(const AttendProblem& p, int64_t head) {
  float* scores = p.scores + head * p.tokens;
  float largest = -infinity;
  for (int64_t token = 0; token < p.tokens; ++token) largest = larger(largest, scores[token]);
  Vec total = {};
  for_vectors(p.tokens, [&](int64_t i, auto access) { access(scores + i, exponential(access(scores + i) - largest)); });
  for_vectors(p.tokens, [&](int64_t i, auto access) { total += access(scores + i); });
  p.largest[head] = largest;
  p.total[head] = sum(total);
}

/// mixed = sum of scores[t] * values[t], a few vectors of D at a time in registers.
template <int vectors, class T>
void mix(const AttendProblem& p, int64_t head, int64_t first) {
  const Rows<T> values(p.values, p.value_scales, p.head_dim);
  const float* scores = p.scores + head * p.tokens;
  Vec sums[vectors] = {};
  for (int64_t token = 0; token < p.tokens; ++token) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) sums[v] += values.at(token, first + v * lanes, WholeVector{}) * scores[token];
  }
  XINSLM_UNROLL
  for (int v = 0; v < vectors; ++v) store(p.mixed + head * p.head_dim + first + v * lanes, sums[v]);
}

template <class T>
void mix_head(const AttendProblem& p, int64_t head) {
  int64_t i = 0;
  for (; i + 4 * lanes <= p.head_dim; i += 4 * lanes) mix<4, T>(p, head, i);
  for (; i + lanes <= p.head_dim; i += lanes) mix<1, T>(p, head, i);
  if (i == p.head_dim) return;
  const Rows<T> values(p.values, p.value_scales, p.head_dim);
  Vec sums = {};
  for (int64_t token = 0; token < p.tokens; ++token) {
    sums += values.at(token, i, PartVector{p.head_dim - i}) * p.scores[head * p.tokens + token];
  }
  store_part(p.mixed + head * p.head_dim + i, sums, p.head_dim - i);
}

template <class T>
void attend(const AttendProblem& p) {
  int64_t head = 0;
  for (; head + 4 <= p.group; head += 4) score<4, T>(p, head);
  for (; head < p.group; ++head) score<1, T>(p, head);
  for (head = 0; head < p.group; ++head) {
    exponentiate(p, head);
    mix_head<T>(p, head);
  }
}

void join_stretches(const float* largest, const float* total, const float* mixed, int64_t stretches, int64_t stride,
                    const float* sink, int64_t head_dim, float* out) {
  float most = sink ? *sink : -infinity;
  for (int64_t s = 0; s < stretches; ++s) most = larger(most, largest[s * stride]);
  float sum_of_all = sink ? __builtin_expf(*sink - most) : 0.0f;
  for (int64_t s = 0; s < stretches; ++s) sum_of_all += total[s * stride] * __builtin_expf(largest[s * stride] - most);
  for (int64_t i = 0; i < head_dim; ++i) out[i] = 0;
  for (int64_t s = 0; s < stretches; ++s) {
    const float share = __builtin_expf(largest[s * stride] - most) / sum_of_all;
    const float* part = mixed + s * stride * head_dim;
    for_vectors(head_dim, [&](int64_t i, auto access) { access(out + i, access(out + i) + access(part + i) * share); });
  }
}

template <int vectors, class T>
void columns_of(const float* x, const T* matrix, int64_t stride, int64_t height, float* out) {
  Vec sums[vectors] = {};
  for (int64_t row = 0; row < height; ++row) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) sums[v] += load(matrix + row * stride + v * lanes) * x[row];
  }
  XINSLM_UNROLL
  for (int v = 0; v < vectors; ++v) store(out + v * lanes, sums[v]);
}

template <class T>
void vector_times_columns(const float* x, const void* matrix, int64_t stride, int64_t height, int64_t columns,
                          float* out) {
  const T* from = static_cast<const T*>(matrix);
  int64_t i = 0;
  for (; i + 4 * lanes <= columns; i += 4 * lanes) columns_of<4>(x, from + i, stride, height, out + i);
  for (; i + lanes <= columns; i += lanes) columns_of<1>(x, from + i, stride, height, out + i);
  if (i == columns) return;
  Vec total = {};
  for (int64_t row = 0; row < height; ++row) total += load_part(from + row * stride + i, columns - i) * x[row];
  store_part(out + i, total, columns - i);
}

}  // namespace

const DecodeKernels decode_kernels = {{attend<float>, attend<Bfloat16>, attend<Float16>, attend<int8_t>},
                                      join_stretches,
                                      {vector_times_columns<float>, vector_times_columns<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
