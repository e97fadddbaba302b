#pragma once
#include <ATen/ATen.h>

#include <string>

#include "xinslm/model/transformer.h"

/// A model of both kinds of layers that computes in no time.
inline xinslm::ModelConfig small_config() {
  xinslm::ModelConfig config;
  config.vocab_size = 61;
  config.hidden_size = 32;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.num_experts = 6;
  config.num_experts_per_tok = 2;
  config.intermediate_size = 24;
  config.max_position_embeddings = 512;
  config.sliding_window = 8;
  config.rope.original_max_position_embeddings = 64;
  config.initializer_range = 0.3;  // large, so that every part of the model has a say in what comes out
  return config;
}

/// Random weights; biases, sinks and gains, which start equal, are spread out.
inline xinslm::Transformer small_model(const xinslm::ModelConfig& config = small_config(), uint64_t seed = 1) {
  xinslm::Transformer model(config, at::kCPU, at::kFloat, seed);
  const auto parameters = model.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, tensor] = parameters[i];
    if (tensor.dim() > 1 && !name.ends_with("_bias")) continue;
    const at::Tensor place = at::arange(tensor.numel(), at::kFloat).view(tensor.sizes());
    model.set_parameter(name, tensor + 0.3 * (place * 1.7 + static_cast<double>(i)).sin());
  }
  return model;
}

/// [batch, time] tokens that repeat irregularly.
inline at::Tensor some_tokens(int64_t batch, int64_t time, int64_t vocab_size = 61) {
  return (at::arange(batch * time) * 37 + at::arange(batch * time).pow(2) * 5)
      .remainder(vocab_size)
      .view({batch, time});
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

inline at::Tensor parameter(const xinslm::Transformer& model, const std::string& name) {
  for (const auto& [known, tensor] : model.parameters()) {
    if (known == name) return tensor;
  }
  return {};
}
