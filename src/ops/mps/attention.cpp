#include "ops/mps/attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>

#include "ops/mps/launch.h"
#include "ops/mps/stored_heads.h"
#include "xinslm/core/error.h"

namespace xinslm::mps {
namespace {

// As the kernels have them.
constexpr int64_t strip_rows = 8, tile_rows = 32, lanes = 32, piece_bytes = 16;

constexpr int64_t wanted_groups = 256;            // enough for the largest of Apple's processors
constexpr int64_t keys_per_split_at_least = 128;  // below, joining the shares costs more than it gains

int64_t parts(int64_t whole, int64_t part) {
  return (whole + part - 1) / part;
}

/// Kernels copy rows in pieces of 16 bytes: x itself where its rows are whole pieces and begin at such, else a copy.
at::Tensor in_pieces(const at::Tensor& x) {
  const int64_t piece = piece_bytes / x.element_size(), missing = parts(x.size(-1), piece) * piece - x.size(-1);
  if (missing > 0) return at::constant_pad_nd(x, {0, missing});
  bool fits = x.stride(-1) == 1 && x.storage_offset() % piece == 0;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) fits = fits && (x.size(d) == 1 || x.stride(d) % piece == 0);
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

/// [B, heads, T, D] -> [B, T, heads, D], dense and in pieces
at::Tensor tokens_first(const at::Tensor& x) {
  return in_pieces(x.transpose(1, 2).contiguous());
}

/// [B, T, heads, width] -> [B, heads, T, D], a view
at::Tensor heads_first(const at::Tensor& x, int64_t head_dim) {
  return x.transpose(1, 2).narrow(3, 0, head_dim);
}

/// 8-bit keys and their scales, which must lie as the rows of the keys do, a token's behind that before it.
std::pair<at::Tensor, at::Tensor> with_scales(const at::Tensor& codes, const at::Tensor& scales) {
  if (scales_follow({codes, scales})) return {codes, scales};
  return {codes.contiguous(), scales.contiguous()};
}

/// The input as kernels read it, and its sizes.
struct Problem {
  at::Tensor query, key, value, sinks, documents, key_scales, value_scales;
  int64_t batch, heads, kv_heads, group, queries, keys, head_dim, width, window;

  explicit Problem(const AttentionInput& input)
      : query(in_pieces(input.query)), key(in_pieces(input.key)), value(in_pieces(input.value)) {
    if (input.sinks.defined()) sinks = input.sinks.to(at::kFloat).contiguous();
    if (input.document_ids.defined()) documents = input.document_ids.contiguous();
    if (input.key_scales.defined()) std::tie(key, key_scales) = with_scales(key, input.key_scales);
    if (input.value_scales.defined()) std::tie(value, value_scales) = with_scales(value, input.value_scales);
    batch = query.size(0);
    heads = query.size(1);
    kv_heads = key.size(1);
    group = heads / kv_heads;
    queries = query.size(2);
    keys = key.size(2);
    head_dim = input.query.size(3);
    width = query.size(3);
    window = std::min(input.window, keys);
  }

  int64_t rows() const { return group * queries; }

  /// Something to bind where there is nothing: no kernel reads it then.
  const at::Tensor& or_any(const at::Tensor& x) const { return x.defined() ? x : query; }

  std::string kernel(const char* what, int64_t strips = 0) const {
    const int64_t widths = width <= 32 ? 32 : width <= 64 ? 64 : 128;
    const std::string name = cat(what, "_", widths, "_");
    return (strips > 0 ? cat(name, strips * strip_rows, "_") : name) + suffix(query);
  }

  /// The arguments that all kernels over tiles end with.
  void add_sizes(Launch& launch) const {
    for (const at::Tensor* x : {&query, &key, &value}) {
      for (int64_t d = 0; d < 3; ++d) launch.integer(x->stride(d));
    }
    launch.integer(group).integer(queries).integer(keys).integer(width).integer(window);
    launch.real(1 / std::sqrt(static_cast<double>(head_dim))).integer(documents.defined());
  }

  /// A grid of groups of `strips` simdgroups, `count` for each key head.
  void run(Launch& launch, int64_t count, int64_t strips) const {
    const Size3 threads{static_cast<uint64_t>(count * strips * lanes), static_cast<uint64_t>(kv_heads),
                        static_cast<uint64_t>(batch)};
    launch.run(threads, {static_cast<uint64_t>(strips * lanes), 1, 1});
  }

  /// Into how many shares the keys are split.
  int64_t splits(int64_t strips) const {
    const int64_t groups = parts(rows(), strips * strip_rows) * kv_heads * batch;
    const int64_t visible = window > 0 ? std::min(keys, window + queries) : keys;
    return std::clamp<int64_t>(wanted_groups / groups, 1, std::max<int64_t>(1, visible / keys_per_split_at_least));
  }
};

/// A simdgroup for each of [B, T, Q] rows.
void run_rows(Launch& launch, const Problem& p) {
  launch.run({lanes, static_cast<uint64_t>(p.batch * p.queries * p.heads), 1}, {lanes, 4, 1});
}

AttentionOutput forward(const Problem& p, int64_t strips, int64_t splits) {
  const auto floats = p.query.options().dtype(at::kFloat);
  const at::Tensor out = at::empty({p.batch, p.queries, p.heads, p.width}, p.query.options());
  const at::Tensor log_sum = at::empty({splits, p.batch, p.heads, p.queries}, floats);
  const at::Tensor partial = splits > 1 ? at::empty({splits, out.numel()}, floats) : log_sum;
  const bool integers = p.key_scales.defined();
  Launch launch(integers ? "attention_q8" : "attention_forward",
                p.kernel(integers ? "attention_forward_q8" : "attention_forward", strips));
  launch.tensor(p.query).tensor(p.key).tensor(p.value).tensor(p.or_any(p.sinks)).tensor(p.or_any(p.documents));
  launch.tensor(out).tensor(log_sum).tensor(partial);
  p.add_sizes(launch);
  launch.integer(p.sinks.defined()).integer(splits).tensor(p.or_any(p.key_scales)).tensor(p.or_any(p.value_scales));
  p.run(launch, parts(p.rows(), strips * strip_rows) * splits, strips);
  if (splits > 1) {
    Launch combine("attention_forward", cat("attention_combine_", suffix(out)));
    combine.tensor(partial).tensor(log_sum).tensor(out).integer(splits).integer(p.batch * p.queries * p.heads);
    combine.integer(p.heads).integer(p.queries).integer(p.width);
    run_rows(combine, p);
  }
  return {heads_first(out, p.head_dim), log_sum[0]};
}

/// Strips of a group: rows of few queries fill one strip only.
int64_t strips_for(const Problem& p) {
  return p.rows() <= strip_rows ? 1 : tile_rows / strip_rows;
}

}  // namespace

bool has_attention(const at::Tensor& query) {
  return is_fast(query) && query.size(3) <= 128;
}

AttentionOutput attention_forward(const AttentionInput& input) {
  const Problem p(input);
  if (p.query.numel() == 0) {
    return {at::empty_like(input.query), at::empty({p.batch, p.heads, p.queries}, p.query.options().dtype(at::kFloat))};
  }
  return forward(p, strips_for(p), 1);
}

at::Tensor attention_inference(const AttentionInput& input) {
  const Problem p(input);
  if (p.query.numel() == 0) return at::empty_like(input.query);
  const int64_t strips = strips_for(p);
  return forward(p, strips, p.splits(strips)).out;
}

AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out) {
  const Problem p(input);
  AttentionGradients result;
  if (p.query.numel() == 0) {
    result = {at::zeros_like(input.query), at::zeros_like(input.key), at::zeros_like(input.value), {}};
    if (p.sinks.defined()) result.sinks = at::zeros_like(p.sinks);
    return result;
  }
  const at::Tensor out = tokens_first(output.out);
  const at::Tensor grad = tokens_first(grad_out.to(out.scalar_type()));
  const at::Tensor delta = at::empty_like(output.log_sum);
  Launch row_sums("attention_backward", cat("attention_delta_", suffix(out)));
  row_sums.tensor(out).tensor(grad).tensor(delta).integer(p.heads).integer(p.queries).integer(p.width);
  run_rows(row_sums, p);

  if (p.sinks.defined()) {
    constexpr uint64_t group = 256;
    result.sinks = at::empty_like(p.sinks);
    Launch launch("attention_backward", "attention_sinks_backward");
    launch.tensor(p.sinks).tensor(output.log_sum).tensor(delta).tensor(result.sinks);
    launch.integer(p.batch).integer(p.heads).integer(p.queries);
    launch.run({static_cast<uint64_t>(p.heads) * group, 1, 1}, {group, 1, 1});
  }

  constexpr int64_t strips = tile_rows / strip_rows;
  const auto launch_over = [&](const char* kernel, int64_t tiles, std::initializer_list<at::Tensor> gradients) {
    Launch launch("attention_backward", p.kernel(kernel));
    launch.tensor(p.query).tensor(p.key).tensor(p.value).tensor(p.or_any(p.documents));
    launch.tensor(grad).tensor(output.log_sum).tensor(delta);
    for (const at::Tensor& gradient : gradients) launch.tensor(gradient);
    p.add_sizes(launch);
    p.run(launch, tiles, strips);
  };
  const at::Tensor query = at::empty_like(out);
  const at::Tensor key = at::empty({p.batch, p.keys, p.kv_heads, p.width}, out.options());
  const at::Tensor value = at::empty_like(key);
  launch_over("attention_query_backward", parts(p.rows(), tile_rows), {query});
  launch_over("attention_key_value_backward", parts(p.keys, tile_rows), {key, value});
  result.query = heads_first(query, p.head_dim);
  result.key = heads_first(key, p.head_dim);
  result.value = heads_first(value, p.head_dim);
  return result;
}

}  // namespace xinslm::mps
