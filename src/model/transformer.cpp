#include "xinslm/model/transformer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "model/block.h"
#include "model/check_pass.h"
#include "model/dropout_seed.h"
#include "xinslm/ops/attention.h"
#include "xinslm/ops/compact.h"
#include "xinslm/ops/dropout.h"
#include "xinslm/ops/embedding.h"
#include "xinslm/ops/linear.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/ops/moe.h"
#include "xinslm/ops/packed.h"
#include "xinslm/ops/rms_norm.h"
#include "xinslm/ops/rotary.h"
#include "xinslm/ops/rows.h"

namespace xinslm {
namespace {

/// [B, T, heads * D] -> [B, heads, T, D]
at::Tensor split_heads(const at::Tensor& x, int64_t head_dim) {
  return x.unflatten(-1, {-1, head_dim}).transpose(1, 2);
}

at::Tensor project(const at::Tensor& x, const Projection& matrix) {
  if (matrix.packed) return packed_linear(x, matrix.packed, matrix.bias);
  if (matrix.is_compact()) return compact_linear(x, *matrix.compact, matrix.bias);
  return linear(x, matrix.weight, matrix.bias);
}

at::Tensor look_up(const Projection& table, const at::Tensor& tokens, at::ScalarType type) {
  if (table.packed) return packed_embedding(table.packed, tokens, type);
  if (table.is_compact()) return table.compact->select_rows(tokens);
  return xinslm::embedding(table.weight, tokens);
}

/// The last `count` of x's tokens [B, T, ...].
at::Tensor last_of(const at::Tensor& x, int64_t dimension, int64_t count) {
  return x.narrow(dimension, x.size(dimension) - count, count);
}

/// Of the last `wanted` tokens of x [B, T, H]; where there are none, only the cache gets keys and values.
at::Tensor self_attention(const PassState& pass, int64_t layer, const LayerWeights& w, const at::Tensor& x,
                          int64_t wanted) {
  const ModelConfig& config = pass.config;
  const at::Tensor cos = last_of(pass.cos, 0, wanted), sin = last_of(pass.sin, 0, wanted);
  at::Tensor query = split_heads(project(last_of(x, 1, wanted), w.query), config.head_dim);
  at::Tensor key = split_heads(project(x, w.key), config.head_dim);
  const at::Tensor value = split_heads(project(x, w.value), config.head_dim);
  if (config.qk_norm) {
    query = rms_norm_rotary(query, w.query_norm, config.rms_norm_eps, cos, sin);
    key = rms_norm_rotary(key, w.key_norm, config.rms_norm_eps, pass.cos, pass.sin);
  } else {
    query = rotary(query, cos, sin);
    key = rotary(key, pass.cos, pass.sin);
  }
  at::Tensor mixed;
  if (pass.kv_cache != nullptr) {
    const auto [keys, values] = pass.kv_cache->append(layer, key, value);
    if (wanted == 0) return query.new_empty({x.size(0), 0, x.size(2)});
    mixed = attention(query, keys, values, w.sinks, config.window(layer));
  } else {
    mixed = attention(query, key, value, w.sinks, config.window(layer), pass.document_ids);
  }
  return project(mixed.transpose(1, 2).flatten(2), w.output);
}

at::Tensor dense_mlp(const PassState& pass, const LayerWeights& w, const at::Tensor& x) {
  return project(swiglu(project(x, w.gate_up), pass.config.swiglu_limit), w.down);
}

/// @param tokens  [N, H]
at::Tensor expert_mlp(const PassState& pass, int64_t layer, const LayerWeights& w, const at::Tensor& tokens,
                      BlockResult& result) {
  const ModelConfig& config = pass.config;
  const auto moe_layer = static_cast<size_t>(layer - config.num_dense_layers);
  const at::Tensor bias = pass.router_bias.empty() ? at::Tensor() : pass.router_bias.at(moe_layer);
  result.router_logits = project(tokens.to(at::kFloat), w.router);
  const Routing routing =
      moe_route(result.router_logits, pass.num_experts_per_tok, config.router_softmax == "before", bias);
  result.chosen = routing.chosen;
  if (w.gate_up_packed) {
    const PackedExpertWeights packed{w.gate_up_packed, w.gate_up.bias, w.down_packed, w.down.bias};
    return moe_experts(tokens, routing, packed, config.swiglu_limit);
  }
  const ExpertWeights experts{w.gate_up.weight, w.gate_up.bias, w.down.weight, w.down.bias};
  return moe_experts(tokens, routing, experts, config.swiglu_limit);
}

/// x [B, T, H]. Experts see and count the places that hold text; at the others nothing is added. (The other products
/// are computed for all places: their library keeps a kernel for each shape it meets, and would meet a new one each
/// time.)
at::Tensor mlp(const PassState& pass, int64_t layer, const LayerWeights& w, const at::Tensor& x, BlockResult& result) {
  if (!pass.config.is_moe(layer)) return dense_mlp(pass, w, x);
  const at::Tensor all = x.flatten(0, 1);
  if (!pass.real_places.defined()) return expert_mlp(pass, layer, w, all, result).view_as(x);
  const at::Tensor mixed = expert_mlp(pass, layer, w, take_rows(all, pass.real_places), result);
  return spread_rows(mixed, pass.real_places, all.size(0)).view_as(x);
}

}  // namespace

BlockResult block(const PassState& pass, int64_t layer, const LayerWeights& w, const at::Tensor& x) {
  const int64_t wanted = pass.wanted_tokens(layer, x.size(1));
  const double eps = pass.config.rms_norm_eps;
  const auto drop = [&](const at::Tensor& y, DropoutPlace place) {
    return dropout(y, pass.hidden_dropout, dropout_seed(pass.dropout_seed, place, layer));
  };
  BlockResult result;
  const at::Tensor attended = self_attention(pass, layer, w, rms_norm(x, w.input_norm, eps), wanted);
  if (wanted == 0) return {attended, {}, {}};
  const at::Tensor middle = last_of(x, 1, wanted) + drop(attended, DropoutPlace::attention);
  const at::Tensor mixed = mlp(pass, layer, w, rms_norm(middle, w.mlp_norm, eps), result);
  result.hidden = middle + drop(mixed, DropoutPlace::mlp);
  return result;
}

at::Tensor Transformer::hidden_states(const at::Tensor& tokens, const ForwardOptions& options) const {
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && options.kv_cache == nullptr);
  const PassState pass = begin_pass(tokens, options);
  at::Tensor x = embed(tokens, options);
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const bool checkpoint = options.gradient_checkpointing && at::GradMode::is_enabled();
    const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
    const BlockResult result =
        checkpoint ? checkpointed_block(pass, layer, weights, x) : block(pass, layer, weights, x);
    x = result.hidden;
    if (options.router_records != nullptr && result.chosen.defined()) {
      options.router_records->push_back({result.router_logits, result.chosen});
    }
  }
  if (options.kv_cache != nullptr) options.kv_cache->advance(tokens.size(1));
  if (x.size(1) == 0) return x;
  const uint64_t seed = dropout_seed(options.dropout_seed, DropoutPlace::output);
  return dropout(rms_norm(x, weights_.norm, config_.rms_norm_eps), options.output_dropout, seed);
}

PassState Transformer::begin_pass(const at::Tensor& tokens, const ForwardOptions& options) const {
  check_pass(*this, tokens, options);
  PassState pass;
  pass.config = config_;
  const int64_t first = options.kv_cache == nullptr ? 0 : options.kv_cache->length();
  std::tie(pass.cos, pass.sin) = rotary_table(config_.rope, config_.head_dim, first, tokens.size(1), device_);
  pass.document_ids = options.document_ids;
  pass.real_places = options.real_places;
  pass.num_experts_per_tok =
      options.num_experts_per_tok > 0 ? options.num_experts_per_tok : config_.num_experts_per_tok;
  if (options.router_bias != nullptr) pass.router_bias = *options.router_bias;
  pass.hidden_dropout = options.hidden_dropout;
  pass.dropout_seed = options.dropout_seed;
  pass.kv_cache = options.kv_cache;
  pass.last_tokens = options.last_tokens;
  return pass;
}

/// Looks the tokens up, [B, T, H]. Word dropout hides all places of a word at once (Gal & Ghahramani 2016).
at::Tensor Transformer::embed(const at::Tensor& tokens, const ForwardOptions& options) const {
  at::Tensor x = look_up(weights_.embedding, tokens.to(device_), type_);
  if (options.word_dropout > 0) {
    const at::Tensor words = at::ones({config_.vocab_size}, x.options().requires_grad(false));
    const uint64_t seed = dropout_seed(options.dropout_seed, DropoutPlace::words);
    x = x * dropout(words, options.word_dropout, seed).index({tokens.to(device_)}).unsqueeze(-1);
  }
  return dropout(x, options.input_dropout, dropout_seed(options.dropout_seed, DropoutPlace::input));
}

at::Tensor Transformer::logits(const at::Tensor& hidden) const {
  const at::Tensor raw = project(hidden, head()).to(at::kFloat);
  const double cap = config_.logit_softcap;
  return cap > 0 ? (raw / cap).tanh() * cap : raw;
}

at::Tensor Transformer::token_log_probabilities(const at::Tensor& hidden, const at::Tensor& targets,
                                                at::Tensor* greedy) const {
  if (!head().packed) {
    return xinslm::token_log_probabilities(hidden, head().weight, targets, config_.logit_softcap, greedy);
  }
  constexpr int64_t chunk = 256;  // tokens whose logits are held
  std::vector<at::Tensor> found, best;
  for (int64_t first = 0; first < hidden.size(0); first += chunk) {
    const int64_t count = std::min(chunk, hidden.size(0) - first);
    const at::Tensor all = logits(hidden.narrow(0, first, count)), wanted = targets.narrow(0, first, count);
    found.push_back(all.log_softmax(-1).gather(1, wanted.unsqueeze(1)).squeeze(1));
    best.push_back(all.argmax(-1).eq(wanted));
  }
  if (found.empty()) found.push_back(at::empty({0}, hidden.options().dtype(at::kFloat)));
  if (best.empty()) best.push_back(at::empty({0}, hidden.options().dtype(at::kBool)));
  if (greedy != nullptr) *greedy = at::cat(best);
  return at::cat(found);
}

}  // namespace xinslm
