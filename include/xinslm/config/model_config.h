#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace xinslm {

/// How positions turn queries and keys.
struct RopeSettings {
  double theta = 150000.0;
  std::string type = "yarn";  ///< "default" (plain) or "yarn" (Peng et al. 2023)
  double factor = 32.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  int64_t original_max_position_embeddings = 4096;
  bool truncate = false;  ///< round the correction range outwards to whole dimensions
};

/// The architecture: gpt-oss by default, each departure a switch. Letters are those of the shape legend.
struct ModelConfig {
  int64_t vocab_size = 50257;            // V
  int64_t hidden_size = 768;             // H
  int64_t num_hidden_layers = 20;        // L
  int64_t num_attention_heads = 12;      // Q
  int64_t num_key_value_heads = 4;       // K
  int64_t head_dim = 64;                 // D
  int64_t num_experts = 32;              // E; config.json: num_local_experts
  int64_t num_experts_per_tok = 2;       // k
  int64_t intermediate_size = 2048;      // I, of one expert
  int64_t max_position_embeddings = 4096;
  int64_t sliding_window = 128;          // 0 = every layer full
  std::vector<std::string> layer_types;  // sliding_attention | full_attention; empty = alternating, sliding first
  RopeSettings rope;
  double rms_norm_eps = 1e-5;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;

  // Departures from gpt-oss.
  bool attention_sinks = true;
  bool attention_bias = true;
  bool router_bias = true;
  bool expert_bias = true;
  double swiglu_limit = 7.0;        // 0 = plain SwiGLU, g * sigmoid(g) * l, without clamp, 1.702 or + 1
  bool qk_norm = false;             // RMS norm with gain over D of each query and key head, before the rotation
  double logit_softcap = 0.0;       // c: logits become c * tanh(logits / c); 0 = off
  std::string router_softmax = "after";  // softmax over the chosen ("after" top-k, gpt-oss) or over all ("before")
  int64_t num_dense_layers = 0;     // the first layers have one dense SwiGLU of dense_intermediate_size
  int64_t dense_intermediate_size = 0;  // 0 = k * I
  bool elastic_top_k = false;       // trained with 1..2k experts a token, so that effort can choose among them

  // Ids that text generation needs; -1 = none.
  int64_t bos_token_id = -1;
  int64_t eos_token_id = -1;
  int64_t pad_token_id = -1;

  /// Window of a layer in tokens, 0 = full attention.
  int64_t window(int64_t layer) const;
  /// True where the layer has experts, false where it is dense.
  bool is_moe(int64_t layer) const { return layer >= num_dense_layers; }
  int64_t dense_width() const { return dense_intermediate_size > 0 ? dense_intermediate_size : num_experts_per_tok * intermediate_size; }
  /// Experts per token at "low" (1), "medium" (k), "high" (2k, at most E). @throws Error(usage) for another word
  int64_t experts_at(const std::string& reasoning_effort) const;
  /// True when transformers' gpt_oss describes this architecture exactly.
  bool is_gpt_oss() const;
};

/// Checks sizes and combinations. `where` names the file or folder; @throws Error(usage) naming key, value and remedy.
void validate(const ModelConfig& config, const std::string& where);

}  // namespace xinslm
