#include "model/layout.h"

#include <utility>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

using enum ParameterRole;

/// What follows from a role.
struct RoleTraits {
  OptimizerGroup group;
  PackedAs packed;
  bool in_model_type;
};

RoleTraits traits(ParameterRole role) {
  switch (role) {
    case embedding:
    case head:
      return {OptimizerGroup::table, PackedAs::q8, true};
    case attention:
    case dense:
      return {OptimizerGroup::matrix, PackedAs::q8, true};
    case expert:
      return {OptimizerGroup::matrix, PackedAs::mxfp4, true};
    case router:
      return {OptimizerGroup::table, PackedAs::none, false};
    case gain:
    case bias:
    case sink:
      break;
  }
  return {OptimizerGroup::vector, PackedAs::none, false};
}

/// Writes the rows of the table.
class LayoutWriter {
 public:
  /// @param layer  -1 outside of the layers
  LayoutWriter(const ModelConfig& config, int64_t layer, std::vector<ParameterSlot>& slots)
      : config_(config), layer_(layer), prefix_(layer < 0 ? "" : cat("model.layers.", layer, ".")), slots_(slots) {}

  ParameterSlot& add(const std::string& name, std::vector<int64_t> shape, ParameterRole role, at::Tensor& tensor) {
    ParameterSlot& slot = slots_.emplace_back();
    slot.name = prefix_ + name;
    slot.shape = std::move(shape);
    slot.role = role;
    slot.layer = layer_;
    slot.tensor = &tensor;
    return slot;
  }

  ParameterSlot& add(const std::string& name, std::vector<int64_t> shape, ParameterRole role, Projection& matrix) {
    ParameterSlot& slot = add(name, std::move(shape), role, matrix.weight);
    if (slot.packed_as() == PackedAs::q8) slot.projection = &matrix;
    return slot;
  }

  void layer(LayerWeights& w) {
    add("input_layernorm.weight", {config_.hidden_size}, gain, w.input_norm);
    add_attention(w);
    add("post_attention_layernorm.weight", {config_.hidden_size}, gain, w.mlp_norm);
    if (config_.is_moe(layer_)) {
      add_experts(w);
    } else {
      add_dense(w);
    }
  }

 private:
  void projection(const std::string& name, int64_t out, int64_t in, ParameterRole role, bool biased, Projection& matrix,
                  bool residual = false) {
    add(name + ".weight", {out, in}, role, matrix).residual = residual;
    if (biased) add(name + ".bias", {out}, bias, matrix.bias);
  }

  void add_attention(LayerWeights& w) {
    const int64_t hidden = config_.hidden_size;
    const int64_t query_width = config_.num_attention_heads * config_.head_dim;
    const int64_t key_width = config_.num_key_value_heads * config_.head_dim;
    const bool biased = config_.attention_bias;
    projection("self_attn.q_proj", query_width, hidden, attention, biased, w.query);
    projection("self_attn.k_proj", key_width, hidden, attention, biased, w.key);
    projection("self_attn.v_proj", key_width, hidden, attention, biased, w.value);
    if (config_.qk_norm) {
      add("self_attn.q_norm.weight", {config_.head_dim}, gain, w.query_norm);
      add("self_attn.k_norm.weight", {config_.head_dim}, gain, w.key_norm);
    }
    if (config_.attention_sinks) add("self_attn.sinks", {config_.num_attention_heads}, sink, w.sinks);
    projection("self_attn.o_proj", hidden, query_width, attention, biased, w.output, /*residual=*/true);
  }

  /// The matrices of all experts and their biases, [E, in, out] and [E, out].
  void add_expert_matrix(const std::string& name, int64_t in, int64_t out, Projection& matrix,
                         std::shared_ptr<ExpertMatrices>& packed, bool residual) {
    const int64_t count = config_.num_experts;
    ParameterSlot& weight = add(name, {count, in, out}, expert, matrix);
    weight.per_expert = true;
    weight.residual = residual;
    weight.experts = &packed;
    if (config_.expert_bias) add(name + "_bias", {count, out}, bias, matrix.bias).per_expert = true;
  }

  void add_experts(LayerWeights& w) {
    const int64_t hidden = config_.hidden_size, width = config_.intermediate_size;
    projection("mlp.router", config_.num_experts, hidden, router, config_.router_bias, w.router);
    add_expert_matrix("mlp.experts.gate_up_proj", hidden, 2 * width, w.gate_up, w.gate_up_packed, false);
    add_expert_matrix("mlp.experts.down_proj", width, hidden, w.down, w.down_packed, /*residual=*/true);
  }

  void add_dense(LayerWeights& w) {
    const int64_t hidden = config_.hidden_size, width = config_.dense_width();
    projection("mlp.gate_up_proj", 2 * width, hidden, dense, config_.expert_bias, w.gate_up);
    projection("mlp.down_proj", hidden, width, dense, config_.expert_bias, w.down, /*residual=*/true);
  }

  const ModelConfig& config_;
  int64_t layer_;
  std::string prefix_;
  std::vector<ParameterSlot>& slots_;
};

}  // namespace

OptimizerGroup Parameter::group() const {
  return traits(role).group;
}

PackedAs Parameter::packed_as() const {
  return traits(role).packed;
}

bool Parameter::in_model_type() const {
  return traits(role).in_model_type;
}

bool Parameter::only_looked_up(const ModelConfig& config) const {
  return role == embedding && !config.tie_word_embeddings;
}

int64_t Parameter::numel() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::vector<ParameterSlot> layer_layout(const ModelConfig& config, int64_t layer, LayerWeights& weights) {
  std::vector<ParameterSlot> slots;
  LayoutWriter(config, layer, slots).layer(weights);
  return slots;
}

std::vector<ParameterSlot> parameter_layout(const ModelConfig& config, ModelWeights& weights) {
  std::vector<ParameterSlot> slots;
  LayoutWriter outside(config, -1, slots);
  weights.layers.resize(static_cast<size_t>(config.num_hidden_layers));
  outside.add("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}, embedding, weights.embedding);
  for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
    LayoutWriter(config, static_cast<int64_t>(layer), slots).layer(weights.layers[layer]);
  }
  outside.add("model.norm.weight", {config.hidden_size}, gain, weights.norm);
  if (!config.tie_word_embeddings) {
    outside.add("lm_head.weight", {config.vocab_size, config.hidden_size}, head, weights.head);
  }
  return slots;
}

std::vector<Parameter> parameter_table(const ModelConfig& config) {
  ModelWeights unused;
  const auto slots = parameter_layout(config, unused);
  return {slots.begin(), slots.end()};
}

}  // namespace xinslm
