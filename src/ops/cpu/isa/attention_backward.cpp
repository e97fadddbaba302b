// Gradients of attention by recomputation of the probabilities from the log-sum-exp (Dao et al. 2022). Scores are
// formed transposed, keys down and queries across: what belongs to a query is then a vector, and every product finds
// its left-hand matrix without another transposition. A sink needs no more than the forward pass's output and
// log-sum-exp with its share included.
#include "ops/cpu/isa/attention.h"

namespace xinslm::XINSLM_ISA {
namespace {

/// One query head: its matrices in the layouts the products want, and the gradient of its queries, transposed.
template <class Compute>
struct QueryHead {
  Compute* query_transposed;  // right-hand [width, queries]
  Compute* query;             // right-hand [queries, width]
  Compute* grad_transposed;   // of the output, likewise
  Compute* grad;
  float* grad_query;  // [width, queries]
  float* log_sum;     // [queries], infinity beyond the last
  float* delta;       // [queries] sum of grad_out * out
};

template <class Compute>
struct KeyTile {
  Compute* key;             // left-hand [tile, width]
  Compute* key_transposed;  // left-hand [width, tile]
  Compute* value;           // left-hand [tile, width]
  float* grad_key;          // [tile, width]
  float* grad_value;
};

/// One tile of keys against one tile of queries.
template <class Compute>
struct ScoreTile {
  float* scores;               // [keys, queries]
  float* grad;                 // of the probabilities
  Compute* probabilities;      // left-hand [keys, queries]
  Compute* grad_scores;        // left-hand [keys, queries]
  Compute* grad_scores_right;  // right-hand [keys, queries]; the same memory when the layouts agree
};

/// Hands out pieces of the scratch memory.
struct Arena {
  float* next;
  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(next);
    next += count;  // a float each, enough for both compute types, keeps the alignment
    return piece;
  }
};

template <class Storage, class Compute>
QueryHead<Compute> prepare_head(const AttentionProblem& p, int64_t batch, int64_t head, Arena& arena) {
  const int64_t width = p.padded_width(), queries = p.padded_queries(), size = width * queries;
  QueryHead<Compute> h;
  h.query_transposed = arena.take<Compute>(size);
  h.query = arena.take<Compute>(size);
  h.grad_transposed = arena.take<Compute>(size);
  h.grad = arena.take<Compute>(size);
  h.grad_query = arena.take<float>(size);
  h.log_sum = arena.take<float>(queries);
  h.delta = arena.take<float>(queries);
  const Storage* query = row_of<const Storage>(p.query, batch, head, 0);
  const Storage* grad = row_of<const Storage>(p.grad_out, batch, head, 0);
  pack_right_transposed(query, p.query.token_stride, p.queries, p.width, h.query_transposed, queries, width);
  pack_right(query, p.query.token_stride, p.queries, p.width, h.query, queries, width);
  pack_right_transposed(grad, p.grad_out.token_stride, p.queries, p.width, h.grad_transposed, queries, width);
  pack_right(grad, p.grad_out.token_stride, p.queries, p.width, h.grad, queries, width);
  __builtin_memset(h.grad_query, 0, size * sizeof *h.grad_query);
  const float* log_sum = p.log_sum + (batch * p.heads + head) * p.queries;
  for (int64_t i = 0; i < queries; ++i) {
    h.log_sum[i] = i < p.queries ? log_sum[i] : infinity;
    Vec total = {};
    if (i < p.queries) {
      const Storage* out = row_of<const Storage>(p.out, batch, head, i);
      const Storage* grad_out = row_of<const Storage>(p.grad_out, batch, head, i);
      for_vectors(p.width, [&](int64_t d, auto access) { total += access(out + d) * access(grad_out + d); });
    }
    h.delta[i] = sum(total);
  }
  if (p.grad_sinks) {
    float total = 0;
    for (int64_t i = 0; i < p.queries; ++i) total += __builtin_expf(p.sinks[head] - log_sum[i]) * h.delta[i];
    p.grad_sinks[batch * p.heads + head] = -total;
  }
  return h;
}

/// Probabilities and gradients of the scores, of the tile's vector at (key row, query column).
struct ScoreVectors {
  Vec probability, grad;
};
template <bool masked, class Compute>
XINSLM_INLINE ScoreVectors score_vectors(const AttentionProblem& p, const int32_t* documents,
                                         const QueryHead<Compute>& head, const ScoreTile<Compute>& tile,
                                         int64_t first_key, int64_t first_query, int64_t row, int64_t column) {
  const int64_t place = row * attention_tile + column, query = first_query + column;
  Vec probability = exponential(load(tile.scores + place) * p.scale - load(head.log_sum + query));
  if (masked) {
    const int64_t key = first_key + row, position = first_position(p) + query;
    const IntVec distance = lane_numbers() + static_cast<int32_t>(position - key);
    IntVec visible = distance >= 0;
    if (p.window > 0) visible &= distance < static_cast<int32_t>(smaller<int64_t>(p.window, INT32_MAX));
    if (documents) visible &= load_int(documents + position) == documents[key];
    probability = select(visible, probability, Vec{});
  }
  return {probability, probability * (load(tile.grad + place) - load(head.delta + query)) * p.scale};
}

template <bool masked, class Compute>
void fill_score_tile(const AttentionProblem& p, const int32_t* documents, const QueryHead<Compute>& head,
                     const ScoreTile<Compute>& tile, int64_t first_key, int64_t first_query) {
  constexpr int pair = Packing<Compute>::pair;
  for (int64_t row = 0; row < attention_tile; row += pair) {
    for (int64_t column = 0; column < attention_tile; column += lanes) {
      ScoreVectors v[pair];
      for (int k = 0; k < pair; ++k) {
        v[k] = score_vectors<masked>(p, documents, head, tile, first_key, first_query, row + k, column);
        const int64_t place = (row + k) * attention_tile + column;
        store(tile.probabilities + place, v[k].probability);
        store(tile.grad_scores + place, v[k].grad);
      }
      if constexpr (pair == 2) {
        const WordVec low = words_of(round_to_bfloat16(v[0].grad));
        const WordVec high = words_of(round_to_bfloat16(v[1].grad));
        const WordVec both = low | (high << 16);
        __builtin_memcpy(tile.grad_scores_right + row * attention_tile + column * pair, &both, sizeof both);
      }
    }
  }
}

template <class Compute>
void accumulate_tile(const AttentionProblem& p, const int32_t* documents, const QueryHead<Compute>& head,
                     const KeyTile<Compute>& keys, const ScoreTile<Compute>& tile, int64_t first_key,
                     int64_t first_query) {
  constexpr int pair = Packing<Compute>::pair;
  constexpr int64_t side = attention_tile;
  const int64_t width = p.padded_width(), queries = p.padded_queries();
  multiply<Compute, false>(keys.key, width, head.query_transposed + first_query * pair, queries, tile.scores, side,
                           side, side, width);
  multiply<Compute, false>(keys.value, width, head.grad_transposed + first_query * pair, queries, tile.grad, side, side,
                           side, width);
  const int64_t position = first_position(p) + first_query;
  const bool all_visible =
      !documents && position >= first_key + side - 1 && (p.window == 0 || position + side - 1 - first_key < p.window);
  if (all_visible) {
    fill_score_tile<false>(p, documents, head, tile, first_key, first_query);
  } else {
    fill_score_tile<true>(p, documents, head, tile, first_key, first_query);
  }
  multiply<Compute, true>(tile.probabilities, side, head.grad + first_query * width, width, keys.grad_value, width,
                          side, width, side);
  multiply<Compute, true>(tile.grad_scores, side, head.query + first_query * width, width, keys.grad_key, width, side,
                          width, side);
  multiply<Compute, true>(keys.key_transposed, side, tile.grad_scores_right, side, head.grad_query + first_query,
                          queries, width, side, side);
}

template <class Storage>
void write_rows(const AttentionProblem& p, const HeadsArray& to, int64_t batch, int64_t head, int64_t first,
                int64_t rows, const float* from) {
  for (int64_t row = 0; row < rows; ++row) {
    Storage* target = row_of<Storage>(to, batch, head, first + row);
    const float* source = from + row * p.padded_width();
    for_vectors(p.width, [&](int64_t i, auto access) { access(target + i, load(source + i)); });
  }
}

template <class Storage>
void write_transposed(const AttentionProblem& p, int64_t batch, int64_t head, const float* from) {
  constexpr int64_t block = 16;  // queries whose vectors stay in the first cache
  const int64_t stride = p.padded_queries();
  for (int64_t first = 0; first < p.queries; first += block) {
    const int64_t rows = smaller(block, p.queries - first);
    float turned[block * lanes];
    for_vectors(p.width, [&](int64_t i, auto access) {
      for (int64_t k = 0; k < smaller<int64_t>(lanes, p.width - i); ++k) {
        for (int64_t row = 0; row < rows; ++row) turned[row * lanes + k] = from[(i + k) * stride + first + row];
      }
      for (int64_t row = 0; row < rows; ++row) {
        access(row_of<Storage>(p.grad_query, batch, head, first + row) + i, load(turned + row * lanes));
      }
    });
  }
}

}  // namespace

template <class Storage>
void attention_backward(const AttentionProblem& p, int64_t task, float* scratch) {
  using Compute = typename ComputeOf<Storage>::type;
  constexpr int64_t side = attention_tile;
  const int64_t batch = task / p.kv_heads, kv_head = task % p.kv_heads, group = p.heads / p.kv_heads;
  const int64_t width = p.padded_width();
  const int32_t* documents = documents_of(p, batch);
  Arena arena{scratch};
  KeyTile<Compute> keys;
  keys.key = arena.take<Compute>(side * width);
  keys.key_transposed = arena.take<Compute>(side * width);
  keys.value = arena.take<Compute>(side * width);
  keys.grad_key = arena.take<float>(side * width);
  keys.grad_value = arena.take<float>(side * width);
  ScoreTile<Compute> tile;
  tile.scores = arena.take<float>(side * side);
  tile.grad = arena.take<float>(side * side);
  tile.probabilities = arena.take<Compute>(side * side);
  tile.grad_scores = arena.take<Compute>(side * side);
  tile.grad_scores_right = Packing<Compute>::pair == 1 ? tile.grad_scores : arena.take<Compute>(side * side);
  QueryHead<Compute>* heads = reinterpret_cast<QueryHead<Compute>*>(arena.take<float>(32 * group));
  for (int64_t i = 0; i < group; ++i) {
    heads[i] = prepare_head<Storage, Compute>(p, batch, kv_head * group + i, arena);
  }

  for (int64_t first_key = 0; first_key < p.keys; first_key += side) {
    const int64_t rows = smaller(side, p.keys - first_key);
    const Storage* key = row_of<const Storage>(p.key, batch, kv_head, first_key);
    const Storage* value = row_of<const Storage>(p.value, batch, kv_head, first_key);
    pack_left(key, p.key.token_stride, rows, p.width, keys.key, side, width);
    pack_left_transposed(key, p.key.token_stride, rows, p.width, keys.key_transposed, side, width);
    pack_left(value, p.value.token_stride, rows, p.width, keys.value, side, width);
    __builtin_memset(keys.grad_key, 0, side * width * sizeof(float));
    __builtin_memset(keys.grad_value, 0, side * width * sizeof(float));
    // Queries at positions [first_key, last key + window).
    const int64_t low = larger<int64_t>(0, first_key - first_position(p)) / side * side;
    int64_t high = p.queries;
    if (p.window > 0) high = smaller(high, first_key + rows - 1 + p.window - first_position(p));
    for (int64_t i = 0; i < group; ++i) {
      for (int64_t query = low; query < high; query += side) {
        if (!may_share_document(documents, first_key, rows, first_position(p) + query,
                                smaller(side, p.queries - query))) {
          continue;
        }
        accumulate_tile(p, documents, heads[i], keys, tile, first_key, query);
      }
    }
    write_rows<Storage>(p, p.grad_key, batch, kv_head, first_key, rows, keys.grad_key);
    write_rows<Storage>(p, p.grad_value, batch, kv_head, first_key, rows, keys.grad_value);
  }
  for (int64_t i = 0; i < group; ++i) write_transposed<Storage>(p, batch, kv_head * group + i, heads[i].grad_query);
}

template void attention_backward<float>(const AttentionProblem&, int64_t, float*);
template void attention_backward<Bfloat16>(const AttentionProblem&, int64_t, float*);

}  // namespace xinslm::XINSLM_ISA
