#include "model/decoder_layer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/cpu/compact.h"
#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/moe_kernels.h"
#include "ops/cpu/packed.h"
#include "ops/cpu/packed_kernels.h"
#include "ops/cpu/row_kernels.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

using cpu::bytes_of;
using cpu::element_of;
using cpu::floats_of;
using cpu::floats_or_null;
using cpu::row_at;

/// Tokens that make it worth while to share one head's attention between threads.
constexpr int64_t stretch_tokens = 256;

constexpr int64_t piece = decode_piece;

/// Groups of rows of an expert's down matrix that are handed out at a time, some tens of kilobytes.
constexpr int64_t groups_together = 4;

/// `count` values and room for a whole last piece.
size_t padded(int64_t count) {
  return static_cast<size_t>((count + piece - 1) / piece * piece);
}

/// The widest dense layer's inner values; 0 where there is none.
int64_t dense_width(const ModelConfig& config) {
  return config.num_dense_layers > 0 ? config.dense_width() : 0;
}

/// Norm where there is one, and rotation, of a head's row in place.
void turn_head(const ModelConfig& config, const DecodeScratch& scratch, const at::Tensor& norm, float* row) {
  const int64_t width = config.head_dim;
  if (config.qk_norm) {
    float inverse_rms;
    rms_norm_kernels().forward[element_float32](row, floats_of(norm), config.rms_norm_eps, row,
                                                &inverse_rms, 1, width);
  }
  rotary_kernels().turn[element_float32](row, width, row, width, 1, width / 2, scratch.cos, scratch.sin, 1.0f);
}

StoredElement stored_element(const at::Tensor& stored) {
  switch (stored.scalar_type()) {
    case at::kFloat:
      return stored_float32;
    case at::kBFloat16:
      return stored_bfloat16;
    case at::kHalf:
      return stored_float16;
    default:
      return stored_int8;
  }
}

/// Row `row` of keys or values becomes x, as the KV cache keeps it.
void store_row(const float* x, const at::Tensor& stored, const at::Tensor& scales, int64_t row) {
  const int64_t width = stored.size(-1);
  char* to = row_at(stored, row, width);
  if (stored.scalar_type() == at::kHalf) {
    std::transform(x, x + width, reinterpret_cast<at::Half*>(to), [](float v) { return at::Half(v); });
  } else if (stored.scalar_type() == at::kChar) {
    scales.data_ptr<float>()[row] =
        packed_kernels().quantize_row[element_float32](x, width / quant_block, reinterpret_cast<int8_t*>(to));
  } else {
    row_kernels().scale[element_of(stored)](x, 1.0f, to, width);
  }
}

}  // namespace

int64_t decode_rows_together(const TeamMember& member, const Projection& matrix) {
  constexpr int64_t bytes = 256 << 10;
  const int64_t row_bytes = std::max<int64_t>(1, decode_memory(matrix, 0, 1).bytes);
  const int64_t rows = std::min(bytes / row_bytes, matrix.rows() / (2 * member.size()));
  return std::max(piece, rows / piece * piece);
}

DecodeInput::DecodeInput(int64_t width) : quantized(cpu::each_alone(1), width / quant_block * quant_block) {
  constexpr int64_t block = CompactBfloat16::block;
  values.resize(static_cast<size_t>((width + block - 1) / block * block));
}

Upcoming decode_memory(const Projection& matrix, int64_t begin, int64_t end) {
  if (begin >= end) return {};
  const int64_t width = matrix.width();
  if (matrix.packed) return {row_at(matrix.packed->values(), begin, width), (end - begin) * width};
  if (matrix.is_compact()) return {matrix.compact->row(begin), matrix.compact->row(end) - matrix.compact->row(begin)};
  return {row_at(matrix.weight, begin, width), (end - begin) * width * matrix.weight.element_size()};
}

void decode_project(const Projection& matrix, const DecodeInput& x, int64_t begin, int64_t end, float* out) {
  if (matrix.packed) {
    for (int64_t row = begin; row < end; row += piece) {
      cpu::multiply_group(*matrix.packed, 0, row / piece, x.quantized.rows(), 1, out + row, piece);
    }
  } else if (matrix.is_compact()) {
    cpu::multiply_rows(*matrix.compact, begin, end, x.values.data(), out);
  } else {
    const int64_t width = matrix.weight.size(1);
    packed_kernels().rows_times_vector[element_of(matrix.weight)](row_at(matrix.weight, begin, width), width,
                                                                  end - begin, x.values.data(), out + begin);
  }
  if (!matrix.bias.defined()) return;
  const float* bias = floats_of(matrix.bias);
  for (int64_t row = begin; row < end; ++row) out[row] += bias[row];
}

void decode_norm(const float* x, const at::Tensor& gain, double eps, int64_t width, float* normed) {
  float inverse_rms;
  rms_norm_kernels().forward[element_float32](x, floats_of(gain), eps, normed, &inverse_rms, 1, width);
}

DecodeScratch::Own::Own(const ModelConfig& config)
    : hidden(padded(config.hidden_size)),
      normed(config.hidden_size),
      mixed(config.num_attention_heads * config.head_dim),
      act(dense_width(config)),
      query(static_cast<size_t>(config.num_attention_heads / config.num_key_value_heads * config.head_dim)),
      scores(static_cast<size_t>(config.num_attention_heads / config.num_key_value_heads * attend_tokens)),
      router_logits(padded(config.num_experts)) {}

DecodeScratch::DecodeScratch(const ModelConfig& config, int threads) {
  const auto size = [](int64_t count) { return static_cast<size_t>(count); };
  const int64_t heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, width = config.head_dim;
  const int64_t hidden_size = config.hidden_size;
  const int64_t most = std::max<int64_t>(1, config.num_experts);  // experts a token may use at high effort
  const int64_t inner = std::max(config.num_experts > 0 ? most * config.intermediate_size : 0, dense_width(config));
  embedded.resize(size(hidden_size));
  hidden.resize(padded(hidden_size));
  middle.resize(padded(hidden_size));
  query.resize(padded(heads * width));
  key.resize(padded(kv_heads * width));
  value.resize(padded(kv_heads * width));
  largest.resize(size(threads * heads));
  total.resize(size(threads * heads));
  mixed.resize(size(threads * heads * width));
  gate_up.resize(padded(2 * inner));
  act.resize(padded(inner));
  if (config.num_experts > 0) quantized_act = cpu::QuantizedBuffer(cpu::each_alone(most), config.intermediate_size);
  if (config.num_experts > 0) added.resize(size(most) * padded(hidden_size));
  for (int thread = 0; thread < threads; ++thread) owns.emplace_back(config);
}

DecoderLayer::DecoderLayer(const Transformer& model, int64_t layer)
    : config_(model.config()),
      weights_(model.weights().layers[static_cast<size_t>(layer)]),
      is_moe_(model.config().is_moe(layer)) {
  packed_ = {weights_.gate_up_packed, weights_.gate_up.bias, weights_.down_packed, weights_.down.bias};
}

bool DecoderLayer::lay_out_if_due() const {
  return packed_.gate_up && (packed_.gate_up->lay_out_if_due() || packed_.down->lay_out_if_due());
}

void DecoderLayer::run(TeamMember& member, DecodeScratch& scratch, const DecoderLayer* next) const {
  project(member, scratch);
  if (!goes_by_heads(member)) member.wait_for_all();
  attend(member, scratch);
  const auto rows = member.share(config_.hidden_size, decode_rows_together(member, weights_.output));
  member.wait_for_all(decode_memory(weights_.output, rows.begin, rows.end));
  mix_heads(member, scratch);
  member.wait_for_all(mlp_weights(member));
  decode_norm(scratch.middle.data(), weights_.mlp_norm, config_.rms_norm_eps, config_.hidden_size,
              scratch.own(member.number()).normed.values.data());
  if (is_moe_) {
    expert_mlp(member, scratch);
  } else {
    dense_mlp(member, scratch);
  }
  member.wait_for_all(next == nullptr ? Upcoming{} : next->first_weights(member));
  take_over(member, scratch);
}

/// Whether each member attends with just the heads that it projected, so that nobody waits in between.
bool DecoderLayer::goes_by_heads(const TeamMember& member) const {
  return config_.num_key_value_heads % member.size() == 0 && config_.head_dim % piece == 0;
}

/// A member's share of the rows of the query's, key's or value's matrix.
TeamMember::Range DecoderLayer::projected_rows(const TeamMember& member, const Projection& matrix) const {
  if (!goes_by_heads(member)) return member.share(matrix.rows(), piece);
  const int64_t rows = matrix.rows() / config_.num_key_value_heads;
  const auto heads = member.share(config_.num_key_value_heads);
  return {heads.begin * rows, heads.end * rows};
}

Upcoming DecoderLayer::first_weights(const TeamMember& member) const {
  const auto rows = projected_rows(member, weights_.query);
  return decode_memory(weights_.query, rows.begin, rows.end);
}

Upcoming DecoderLayer::mlp_weights(const TeamMember& member) const {
  if (is_moe_) return decode_memory(weights_.router, 0, config_.num_experts);
  const auto inner = member.share(weights_.down.width(), piece);
  return decode_memory(weights_.gate_up, 2 * inner.begin, 2 * inner.end);
}

void DecoderLayer::project(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  DecodeInput& normed = own.normed;
  decode_norm(own.hidden.data(), weights_.input_norm, config_.rms_norm_eps, config_.hidden_size, normed.values.data());
  if (weights_.query.packed || weights_.key.packed || weights_.value.packed) normed.quantize();
  bring_cache_closer(member);
  const auto project = [&](const Projection& matrix, std::vector<float>& out) {
    const auto rows = projected_rows(member, matrix);
    decode_project(matrix, normed, rows.begin, rows.end, out.data());
  };
  project(weights_.query, scratch.query);
  project(weights_.key, scratch.key);
  project(weights_.value, scratch.value);
}

/// The first keys and values that attend() reads are many short pieces, for each of which it would wait.
void DecoderLayer::bring_cache_closer(const TeamMember& member) const {
  constexpr int64_t most_tokens = 128;
  const int64_t width = config_.head_dim, tokens = std::min(place.count - 1, most_tokens);
  if (!goes_by_heads(member)) return;
  const auto heads = member.share(config_.num_key_value_heads);
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    for (const at::Tensor& stored : {place.keys, place.values}) {
      const int64_t row_bytes = width * stored.element_size();
      bring_closer({row_at(stored, head * stored.size(2) + place.first, width), tokens * row_bytes});
    }
  }
}

int64_t DecoderLayer::stretches(const TeamMember& member) const {
  const int64_t by_threads = std::max<int64_t>(1, member.size() / config_.num_key_value_heads);
  return std::clamp<int64_t>(place.count / stretch_tokens, 1, by_threads);
}

void DecoderLayer::attend(TeamMember& member, DecodeScratch& scratch) const {
  const int64_t parts = stretches(member);
  const auto tasks = member.share(config_.num_key_value_heads * parts);
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {
    attend_stretch(scratch, scratch.own(member.number()), task / parts, task % parts, parts);
  }
}

void DecoderLayer::store_key_value(DecodeScratch& scratch, int64_t head) const {
  const int64_t width = config_.head_dim, token = place.first + place.count - 1;
  float* key = scratch.key.data() + head * width;
  turn_head(config_, scratch, weights_.key_norm, key);
  const int64_t row = head * place.keys.size(2) + token;
  store_row(key, place.keys, place.key_scales, row);
  store_row(scratch.value.data() + head * width, place.values, place.value_scales, row);
}

void DecoderLayer::attend_stretch(DecodeScratch& scratch, DecodeScratch::Own& own, int64_t head, int64_t stretch,
                                  int64_t stretches) const {
  const int64_t width = config_.head_dim, heads = config_.num_attention_heads;
  const int64_t group = heads / config_.num_key_value_heads;
  const int64_t begin = place.count * stretch / stretches, end = place.count * (stretch + 1) / stretches;
  if (stretch + 1 == stretches) store_key_value(scratch, head);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  std::copy_n(scratch.query.data() + head * group * width, group * width, own.query.data());
  for (int64_t i = 0; i < group; ++i) turn_head(config_, scratch, weights_.query_norm, own.query.data() + i * width);
  for (float& x : own.query) x *= scale;
  const int64_t row = head * place.keys.size(2) + place.first + begin, first_head = stretch * heads + head * group;
  AttendProblem problem{};
  problem.query = own.query.data();
  problem.keys = row_at(place.keys, row, width);
  problem.values = row_at(place.values, row, width);
  if (place.key_scales.defined()) {
    problem.key_scales = floats_of(place.key_scales) + row;
    problem.value_scales = floats_of(place.value_scales) + row;
  }
  problem.tokens = end - begin;
  problem.group = group;
  problem.head_dim = width;
  problem.scores = own.scores.data();
  problem.largest = scratch.largest.data() + first_head;
  problem.total = scratch.total.data() + first_head;
  problem.mixed = scratch.mixed.data() + first_head * width;
  decode_kernels().attend[stored_element(place.keys)](problem);
}

void DecoderLayer::mix_heads(TeamMember& member, DecodeScratch& scratch) const {
  const int64_t width = config_.head_dim, heads = config_.num_attention_heads, parts = stretches(member);
  DecodeScratch::Own& own = scratch.own(member.number());
  DecodeInput& mixed = own.mixed;
  const float* sinks = floats_or_null(weights_.sinks);
  for (int64_t head = 0; head < heads; ++head) {
    decode_kernels().join_stretches(scratch.largest.data() + head, scratch.total.data() + head,
                                    scratch.mixed.data() + head * width, parts, heads, sinks ? sinks + head : nullptr,
                                    width, mixed.values.data() + head * width);
  }
  if (weights_.output.packed) mixed.quantize();
  const int64_t together = decode_rows_together(member, weights_.output);
  member.share_out(config_.hidden_size, together, [&](const TeamMember::Range& rows) {
    decode_project(weights_.output, mixed, rows.begin, rows.end, scratch.middle.data());
    row_kernels().accumulate[element_float32](scratch.middle.data() + rows.begin, own.hidden.data() + rows.begin,
                                              rows.end - rows.begin);
  });
}

void DecoderLayer::dense_mlp(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  if (weights_.gate_up.packed) own.normed.quantize();
  const auto inner = member.share(weights_.down.width(), piece);
  decode_project(weights_.gate_up, own.normed, 2 * inner.begin, 2 * inner.end, scratch.gate_up.data());
  moe_kernels().swiglu[element_float32](scratch.gate_up.data() + 2 * inner.begin, nullptr, config_.swiglu_limit,
                                        scratch.act.data() + inner.begin, 1, inner.end - inner.begin);
  member.wait_for_all();
  std::copy_n(scratch.act.data(), weights_.down.width(), own.act.values.data());
  if (weights_.down.packed) own.act.quantize();
  const auto rows = member.share(config_.hidden_size, piece);
  decode_project(weights_.down, own.act, rows.begin, rows.end, scratch.hidden.data());
  for (int64_t i = rows.begin; i < rows.end; ++i) scratch.hidden[i] += scratch.middle[i];
}

/// The k best experts, best first, the lower number first among equals, and their weights: as moe_route().
void DecoderLayer::choose_experts(DecodeScratch& scratch, DecodeScratch::Own& own) const {
  const std::vector<float>& logits = own.router_logits;
  const auto count = static_cast<size_t>(config_.num_experts), k = static_cast<size_t>(scratch.experts);
  own.chosen.resize(count);
  std::iota(own.chosen.begin(), own.chosen.end(), 0);
  std::partial_sort(own.chosen.begin(), own.chosen.begin() + scratch.experts, own.chosen.end(),
                    [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  const float largest = logits[own.chosen[0]];
  const bool over_all = config_.router_softmax == "before";
  float total = 0;
  for (size_t i = 0; i < (over_all ? count : k); ++i) total += std::exp(logits[own.chosen[i]] - largest);
  own.weights.resize(k);
  for (size_t i = 0; i < k; ++i) own.weights[i] = std::exp(logits[own.chosen[i]] - largest) / total;
}

void DecoderLayer::expert_mlp(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  // Each member for itself: the router is small, and nobody waits.
  decode_project(weights_.router, own.normed, 0, config_.num_experts, own.router_logits.data());
  choose_experts(scratch, own);
  if (packed_.gate_up) {
    packed_gate_up(member, scratch);
    member.wait_for_all(down_weights(member, scratch));
    packed_down(member, scratch);
  } else {
    float_gate_up(member, scratch);
    member.wait_for_all();
    float_down(member, scratch);
  }
}

/// Each member multiplies with a stretch of rows, whole and one after the other in memory, and float_down() adds up.
void DecoderLayer::float_gate_up(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  const int64_t hidden = config_.hidden_size, columns = 2 * config_.intermediate_size;
  const at::Tensor& gate_up = weights_.gate_up.weight;
  const auto rows = member.share(hidden);
  own.gate_up.assign(static_cast<size_t>(scratch.experts * columns), 0.0f);
  for (int64_t j = 0; j < scratch.experts; ++j) {
    decode_kernels().add_vector_times_matrix[element_of(gate_up)](
        own.normed.values.data() + rows.begin, row_at(gate_up, own.chosen[j] * hidden + rows.begin, columns),
        rows.end - rows.begin, columns, own.gate_up.data() + j * columns);
  }
}

void DecoderLayer::float_down(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  const int64_t hidden = config_.hidden_size, width = config_.intermediate_size;
  const at::Tensor& down = weights_.down.weight;
  const float* biases = floats_or_null(weights_.gate_up.bias);
  const auto rows = member.share(width, piece);
  const int64_t count = rows.end - rows.begin;
  own.added.assign(static_cast<size_t>(hidden), 0.0f);
  for (int64_t j = 0; j < scratch.experts; ++j) {
    const int64_t expert = own.chosen[j], first = 2 * (j * width + rows.begin);
    float* gate_up = scratch.gate_up.data() + first;
    float* act = scratch.act.data() + j * width + rows.begin;
    std::fill_n(gate_up, 2 * count, 0.0f);
    for (int of = 0; of < member.size(); ++of) {
      const float* part = scratch.own(of).gate_up.data() + first;
      for (int64_t i = 0; i < 2 * count; ++i) gate_up[i] += part[i];
    }
    const float* bias = biases ? biases + 2 * (expert * width + rows.begin) : nullptr;
    moe_kernels().swiglu[element_float32](gate_up, bias, config_.swiglu_limit, act, 1, count);
    for (int64_t i = 0; i < count; ++i) act[i] *= own.weights[j];
    decode_kernels().add_vector_times_matrix[element_of(down)](act, row_at(down, expert * width + rows.begin, hidden),
                                                               count, hidden, own.added.data());
  }
}

void DecoderLayer::packed_gate_up(TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  const int64_t units = cpu::units_of(config_.intermediate_size);
  own.normed.quantize();
  member.share_out(scratch.experts * units, 1, [&](const TeamMember::Range& task) {
    const int64_t j = task.begin / units, unit = task.begin % units;
    float values[3 * cpu::unit_columns];
    cpu::gate_up_unit(packed_, own.chosen[j], unit, own.normed.quantized.rows(), 1, config_.swiglu_limit, values,
                      scratch.quantized_act, j);
  });
}

int64_t DecoderLayer::down_groups() const {
  return (config_.hidden_size + piece - 1) / piece;
}

Upcoming DecoderLayer::down_weights(const TeamMember& member, const DecodeScratch& scratch) const {
  const int64_t groups = down_groups();
  const auto items = member.share(scratch.experts * groups, groups_together);
  if (!packed_.down->laid_out() || items.begin == items.end) return {};
  const int64_t expert = scratch.own(member.number()).chosen[items.begin / groups];
  const uint8_t* begin = packed_.down->rows16().values(expert, items.begin % groups);
  const uint8_t* next = packed_.down->rows16().values(expert, items.begin % groups + 1);
  return {begin, (items.end - items.begin) * (next - begin)};
}

void DecoderLayer::packed_down(TeamMember& member, DecodeScratch& scratch) const {
  const DecodeScratch::Own& own = scratch.own(member.number());
  const int64_t groups = down_groups();
  member.share_out(scratch.experts * groups, groups_together, [&](const TeamMember::Range& items) {
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t j = item / groups, group = item % groups;
      cpu::multiply_group(*packed_.down, own.chosen[j], group, scratch.quantized_act.rows(j), 1,
                          scratch.added.data() + item * piece, piece);
    }
  });
  if (member.number() != 0) return;
  packed_.gate_up->count_uses(scratch.experts);
  packed_.down->count_uses(scratch.experts);
}

/// After everybody is done: hidden of the next layer. What experts gave is summed by each member for itself.
void DecoderLayer::take_over(const TeamMember& member, DecodeScratch& scratch) const {
  DecodeScratch::Own& own = scratch.own(member.number());
  const int64_t hidden = config_.hidden_size;
  std::copy_n(is_moe_ ? scratch.middle.data() : scratch.hidden.data(), hidden, own.hidden.data());
  if (!is_moe_) return;
  const auto add = [&](const float* values, float weight) {
    decode_kernels().add_vector_times_matrix[element_float32](&weight, values, 1, hidden, own.hidden.data());
  };
  const float* biases = floats_or_null(weights_.down.bias);
  for (int64_t j = 0; j < scratch.experts; ++j) {
    if (packed_.down) add(scratch.added.data() + j * down_groups() * piece, own.weights[j]);
    if (biases) add(biases + own.chosen[j] * hidden, own.weights[j]);
  }
  if (packed_.down) return;
  for (int of = 0; of < member.size(); ++of) add(scratch.own(of).added.data(), 1);
}

}  // namespace xinslm
