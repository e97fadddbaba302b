#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/model/weights.h"

namespace xinslm {

/// What all layers of one forward pass share. Held by value where a backward pass may need it after the forward call.
struct PassState {
  ModelConfig config;
  at::Tensor cos, sin;      // [T, D/2] float32, of the tokens' positions
  at::Tensor document_ids;  // [B, T] or undefined
  at::Tensor real_places;   // [N] places of the flattened tokens that hold text, or undefined when all do
  int64_t num_experts_per_tok = 0;
  std::vector<at::Tensor> router_bias;  // per MoE layer [E], or empty
  double hidden_dropout = 0;
  uint64_t dropout_seed = 0;
  KvCache* kv_cache = nullptr;
  std::optional<int64_t> last_tokens;

  /// Of how many last tokens the layer's output is wanted, of `tokens`.
  int64_t wanted_tokens(int64_t layer, int64_t tokens) const {
    const bool is_last = layer + 1 == config.num_hidden_layers;
    return is_last ? std::min(last_tokens.value_or(tokens), tokens) : tokens;
  }
};

struct BlockResult {
  at::Tensor hidden;         // [B, T, H], T being the layer's wanted_tokens()
  at::Tensor router_logits;  // [N, E] float32 of the places that hold text; undefined in a dense layer
  at::Tensor chosen;         // [N, k] int64; undefined in a dense layer
};

/// One layer of the transformer: norm, attention, residual, norm, experts, residual. x [B, T, H]. Where no output is
/// wanted, only keys and values are computed.
BlockResult block(const PassState& pass, int64_t layer, const LayerWeights& weights, const at::Tensor& x);

/// The same, but keeps only x for the backward pass and computes the rest again there (Chen et al. 2016). Dropout masks
/// come from seeds, so the second computation is the first one's equal.
BlockResult checkpointed_block(const PassState& pass, int64_t layer, const LayerWeights& weights, const at::Tensor& x);

}  // namespace xinslm
