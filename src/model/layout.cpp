#include "model/layout.h"

#include <utility>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

using enum ParameterKind;

class LayoutWriter {
 public:
  LayoutWriter(const ModelConfig& config, std::vector<ParameterSlot>& slots) : config_(config), slots_(slots) {}

  void add(const std::string& name, std::vector<int64_t> shape, ParameterKind kind, at::Tensor& tensor) {
    slots_.push_back({prefix_ + name, std::move(shape), kind, false, &tensor, nullptr});
  }

  void add(const std::string& name, std::vector<int64_t> shape, ParameterKind kind, Projection& matrix) {
    add(name, std::move(shape), kind, matrix.weight);
    slots_.back().projection = &matrix;
  }

  void layer(int64_t index, LayerWeights& w) {
    prefix_ = cat("model.layers.", index, ".");
    add("input_layernorm.weight", {config_.hidden_size}, gain, w.input_norm);
    attention(w);
    add("post_attention_layernorm.weight", {config_.hidden_size}, gain, w.mlp_norm);
    if (config_.is_moe(index)) {
      experts(w);
    } else {
      dense(w);
    }
    prefix_.clear();
  }

 private:
  void projection(const std::string& name, int64_t out, int64_t in, ParameterKind kind, bool biased,
                  Projection& matrix) {
    add(name + ".weight", {out, in}, kind, matrix);
    if (kind == router) slots_.back().projection = nullptr;
    if (biased) add(name + ".bias", {out}, offset, matrix.bias);
  }

  void attention(LayerWeights& w) {
    const int64_t hidden = config_.hidden_size;
    const int64_t query_width = config_.num_attention_heads * config_.head_dim;
    const int64_t key_width = config_.num_key_value_heads * config_.head_dim;
    const bool biased = config_.attention_bias;
    projection("self_attn.q_proj", query_width, hidden, matrix, biased, w.query);
    projection("self_attn.k_proj", key_width, hidden, matrix, biased, w.key);
    projection("self_attn.v_proj", key_width, hidden, matrix, biased, w.value);
    if (config_.qk_norm) {
      add("self_attn.q_norm.weight", {config_.head_dim}, gain, w.query_norm);
      add("self_attn.k_norm.weight", {config_.head_dim}, gain, w.key_norm);
    }
    if (config_.attention_sinks) add("self_attn.sinks", {config_.num_attention_heads}, offset, w.sinks);
    projection("self_attn.o_proj", hidden, query_width, residual, biased, w.output);
  }

  void experts(LayerWeights& w) {
    const int64_t count = config_.num_experts;
    const int64_t hidden = config_.hidden_size;
    const int64_t width = config_.intermediate_size;
    projection("mlp.router", count, hidden, router, config_.router_bias, w.router);
    const auto add_expert = [&](const char* name, std::vector<int64_t> shape, ParameterKind kind, at::Tensor& tensor) {
      add(name, std::move(shape), kind, tensor);
      slots_.back().expert = true;
    };
    add_expert("mlp.experts.gate_up_proj", {count, hidden, 2 * width}, matrix, w.gate_up.weight);
    if (config_.expert_bias) add_expert("mlp.experts.gate_up_proj_bias", {count, 2 * width}, offset, w.gate_up.bias);
    add_expert("mlp.experts.down_proj", {count, width, hidden}, residual, w.down.weight);
    if (config_.expert_bias) add_expert("mlp.experts.down_proj_bias", {count, hidden}, offset, w.down.bias);
  }

  void dense(LayerWeights& w) {
    const int64_t hidden = config_.hidden_size;
    const int64_t width = config_.dense_width();
    const bool biased = config_.expert_bias;
    projection("mlp.gate_up_proj", 2 * width, hidden, matrix, biased, w.gate_up);
    projection("mlp.down_proj", hidden, width, residual, biased, w.down);
  }

  const ModelConfig& config_;
  std::vector<ParameterSlot>& slots_;
  std::string prefix_;
};

}  // namespace

int64_t ParameterSlot::numel() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::vector<ParameterSlot> parameter_layout(const ModelConfig& config, ModelWeights& weights) {
  std::vector<ParameterSlot> slots;
  LayoutWriter writer(config, slots);
  weights.layers.resize(static_cast<size_t>(config.num_hidden_layers));
  writer.add("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}, embedding, weights.embedding);
  for (size_t index = 0; index < weights.layers.size(); ++index) {
    writer.layer(static_cast<int64_t>(index), weights.layers[index]);
  }
  writer.add("model.norm.weight", {config.hidden_size}, gain, weights.norm);
  if (!config.tie_word_embeddings) {
    writer.add("lm_head.weight", {config.vocab_size, config.hidden_size}, matrix, weights.head);
  }
  return slots;
}

}  // namespace xinslm
