// Attention without the T x S matrix: a tile of queries against strips of the keys in its reach, with a running maximum
// (Milakov & Gimelshein 2018; Dao et al. 2022).
#include "ops/cpu/isa/attention.h"

namespace xinslm::XINSLM_ISA {
namespace {

template <class Storage>
void pack(const AttentionProblem& p, int64_t task, float* packed) {
  using Compute = typename ComputeOf<Storage>::type;
  const int64_t batch = task / p.kv_heads, head = task % p.kv_heads;
  Compute* keys = reinterpret_cast<Compute*>(packed);
  Compute* values = keys + p.padded_keys() * p.padded_width();
  pack_right_transposed(row_of<const Storage>(p.key, batch, head, 0), p.key.token_stride, p.keys, p.width, keys,
                        p.padded_keys(), p.padded_width());
  pack_right(row_of<const Storage>(p.value, batch, head, 0), p.value.token_stride, p.keys, p.width, values,
             p.padded_keys(), p.padded_width());
}

/// What the rows of a query tile have summed up so far.
struct RunningSoftmax {
  float maximum[attention_tile];
  float sum[attention_tile];
};

/// Turns the scores of one query against keys [strip, strip + count) into unnormalised probabilities and the running
/// softmax with it; returns the factor by which what was summed before must be multiplied.
template <class Compute>
float softmax_row(const AttentionProblem& p, const int32_t* documents, int64_t position, int64_t strip, int64_t count,
                  const float* scores, Compute* probabilities, float& running_maximum, float& running_sum) {
  const int64_t low = p.window > 0 ? larger<int64_t>(0, position - p.window + 1 - strip) : 0;
  const int64_t high = smaller<int64_t>(count, position + 1 - strip);
  if (high <= low) {
    __builtin_memset(probabilities, 0, count * sizeof *probabilities);
    return 1.0f;
  }
  const int64_t begin = low / lanes * lanes;
  const auto visible = [&](int64_t i) {
    const IntVec key = lane_numbers() + static_cast<int32_t>(i);
    IntVec mask = (key >= static_cast<int32_t>(low)) & (key < static_cast<int32_t>(high));
    if (documents) mask &= load_int(documents + strip + i) == documents[position];
    return mask;
  };
  Vec most = all(running_maximum);
  for (int64_t i = begin; i < high; i += lanes) {
    most = larger_of(most, select(visible(i), load(scores + i) * p.scale, all(-infinity)));
  }
  const float next = maximum(most);
  if (next == -infinity) {
    __builtin_memset(probabilities, 0, count * sizeof *probabilities);
    return 1.0f;
  }
  __builtin_memset(probabilities, 0, begin * sizeof *probabilities);
  Vec total = {};
  int64_t i = begin;
  for (; i < high; i += lanes) {
    const Vec e = select(visible(i), exponential(load(scores + i) * p.scale - next), Vec{});
    total += e;
    store(probabilities + i, e);
  }
  __builtin_memset(probabilities + i, 0, (count - i) * sizeof *probabilities);
  const float factor = running_maximum == -infinity ? 0.0f : __builtin_expf(running_maximum - next);
  running_sum = running_sum * factor + sum(total);
  running_maximum = next;
  return factor;
}

/// Divides by the softmax denominator, the sink's share included, and writes the tile's rows.
template <class Storage>
void finish(const AttentionProblem& p, int64_t batch, int64_t head, int64_t first_query, int64_t rows,
            const RunningSoftmax& running, const float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    float log_sum = running.maximum[row] + __builtin_logf(running.sum[row]);
    if (p.sinks) log_sum = log_of_sum(log_sum, p.sinks[head]);
    const float factor = __builtin_expf(running.maximum[row] - log_sum);
    Storage* target = row_of<Storage>(p.out, batch, head, first_query + row);
    const float* source = out + row * p.padded_width();
    for_vectors(p.width, [&](int64_t i, auto access) { access(target + i, load(source + i) * factor); });
    p.log_sum[(batch * p.heads + head) * p.queries + first_query + row] = log_sum;
  }
}

template <class Storage>
void forward(const AttentionProblem& p, int64_t task, const float* packed, float* scratch) {
  using Compute = typename ComputeOf<Storage>::type;
  const int64_t first_query = task % p.query_tiles() * attention_tile;
  const int64_t head = task / p.query_tiles() % p.heads, batch = task / p.query_tiles() / p.heads;
  const int64_t width = p.padded_width(), rows = smaller(attention_tile, p.queries - first_query);
  const int64_t position = first_position(p) + first_query, end = position + rows;
  const int32_t* documents = documents_of(p, batch);
  const Compute* keys = reinterpret_cast<const Compute*>(packed);
  const Compute* values = keys + p.padded_keys() * width;

  float* out = scratch;
  float* scores = out + attention_tile * width;
  Compute* probabilities = reinterpret_cast<Compute*>(scores + attention_tile * attention_strip);
  Compute* query = reinterpret_cast<Compute*>(scores + 2 * attention_tile * attention_strip);
  RunningSoftmax running;
  for (int64_t row = 0; row < attention_tile; ++row) {
    running.maximum[row] = -infinity;
    running.sum[row] = 0;
  }
  pack_left(row_of<const Storage>(p.query, batch, head, first_query), p.query.token_stride, rows, p.width, query,
            attention_tile, width);
  __builtin_memset(out, 0, attention_tile * width * sizeof *out);

  int64_t begin = p.window > 0 ? larger<int64_t>(0, position - p.window + 1) / attention_tile * attention_tile : 0;
  while (begin + attention_tile <= position && !may_share_document(documents, begin, attention_tile, position, rows)) {
    begin += attention_tile;
  }
  const int64_t padded_rows = (rows + tile_rows - 1) / tile_rows * tile_rows;
  for (int64_t strip = begin; strip < end; strip += attention_strip) {
    const int64_t reach = smaller(attention_strip, end - strip);
    const int64_t count = (reach + attention_tile - 1) / attention_tile * attention_tile;
    multiply<Compute, false>(query, width, keys + strip * Packing<Compute>::pair, p.padded_keys(), scores, count,
                             padded_rows, count, width);
    for (int64_t row = 0; row < padded_rows; ++row) {
      if (row >= rows) {
        __builtin_memset(probabilities + row * count, 0, count * sizeof *probabilities);
        continue;
      }
      const float factor = softmax_row(p, documents, position + row, strip, count, scores + row * count,
                                       probabilities + row * count, running.maximum[row], running.sum[row]);
      if (strip == begin || factor == 1.0f) continue;
      for (int64_t i = 0; i < width; i += lanes) store(out + row * width + i, load(out + row * width + i) * factor);
    }
    multiply<Compute, true>(probabilities, count, values + strip * width, width, out, width, padded_rows, width, count);
  }
  finish<Storage>(p, batch, head, first_query, rows, running, out);
}

/// Dot product over the head's width.
template <class Storage>
XINSLM_INLINE float dot(const Storage* a, const Storage* b, int64_t size) {
  Vec total = {};
  for_vectors(size, [&](int64_t i, auto access) { total += access(a + i) * access(b + i); });
  return sum(total);
}

template <class Storage>
void decode(const AttentionProblem& p, int64_t task, float* scratch) {
  const int64_t batch = task / p.kv_heads, kv_head = task % p.kv_heads, group = p.heads / p.kv_heads;
  const int32_t* documents = documents_of(p, batch);
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t i = 0; i < p.queries; ++i) {
      const int64_t position = first_position(p) + i, end = position + 1;
      const int64_t begin = p.window > 0 ? larger<int64_t>(0, end - p.window) : 0;
      const Storage* query = row_of<const Storage>(p.query, batch, head, i);
      float most = p.sinks ? p.sinks[head] : -infinity;
      for (int64_t key = begin; key < end; ++key) {
        const bool visible = !documents || documents[key] == documents[position];
        scratch[key] =
            visible ? dot(query, row_of<const Storage>(p.key, batch, kv_head, key), p.width) * p.scale : -infinity;
        most = larger(most, scratch[key]);
      }
      float total = p.sinks ? __builtin_expf(p.sinks[head] - most) : 0.0f;
      for (int64_t key = begin; key < end; key += lanes) {
        const int64_t count = smaller<int64_t>(lanes, end - key);
        const Vec e = select(lane_numbers() < static_cast<int32_t>(count),
                             exponential(load_part(scratch + key, count) - most), Vec{});
        store_part(scratch + key, e, count);
        total += sum(e);
      }
      Storage* out = row_of<Storage>(p.out, batch, head, i);
      for_vectors(p.width, [&](int64_t d, auto access) {
        Vec weighted = {};
        for (int64_t key = begin; key < end; ++key) {
          weighted += access(row_of<const Storage>(p.value, batch, kv_head, key) + d) * scratch[key];
        }
        access(out + d, weighted / total);
      });
    }
  }
}

}  // namespace

const AttentionKernels attention_kernels = {
    {pack<float>, pack<Bfloat16>},
    {forward<float>, forward<Bfloat16>},
    {attention_backward<float>, attention_backward<Bfloat16>},
    {decode<float>, decode<Bfloat16>},
};

}  // namespace xinslm::XINSLM_ISA
