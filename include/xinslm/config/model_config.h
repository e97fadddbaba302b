#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/field.h"

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

  template <class V>
  void describe(V& field) {
    field("type", type, one_of({"default", "yarn"}), "default = plain, yarn = stretched beyond the original length",
          "model.rope.rope_type");
    field("theta", theta, between(1, 1e15), "base of the wave lengths", "model.rope_theta");
    field("factor", factor, between(1, 1e6), "yarn: how far the original length is stretched");
    field("beta_fast", beta_fast, between(1e-6, 1e6),
          "yarn: turns within the original length above which waves stay as they are");
    field("beta_slow", beta_slow, between(1e-6, 1e6), "yarn: turns below which waves are stretched in full");
    field("original_max_position_embeddings", original_max_position_embeddings, between(1, 1 << 24),
          "yarn: length that is stretched, in tokens");
    field("truncate", truncate, anything(), "yarn: round the range of blended waves outwards to whole dimensions");
  }
};

/// The architecture: gpt-oss by default, each departure a switch. Letters are those of the shape legend.
struct ModelConfig {
  int64_t vocab_size = 50257;        // V
  int64_t hidden_size = 768;         // H
  int64_t num_hidden_layers = 20;    // L
  int64_t num_attention_heads = 12;  // Q
  int64_t num_key_value_heads = 4;   // K
  int64_t head_dim = 64;             // D
  int64_t num_experts = 32;          // E; config.json: num_local_experts
  int64_t num_experts_per_tok = 2;   // k
  int64_t intermediate_size = 2048;  // I, of one expert
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
  double swiglu_limit = 7.0;             // 0 = plain SwiGLU, g * sigmoid(g) * l, without clamp, 1.702 or + 1
  bool qk_norm = false;                  // RMS norm with gain over D of each query and key head, before the rotation
  double logit_softcap = 0.0;            // c: logits become c * tanh(logits / c); 0 = off
  std::string router_softmax = "after";  // softmax over the chosen ("after" top-k, gpt-oss) or over all ("before")
  int64_t num_dense_layers = 0;          // the first layers have one dense SwiGLU of dense_intermediate_size
  int64_t dense_intermediate_size = 0;   // 0 = k * I
  bool elastic_top_k = false;            // trained with 1..2k experts a token, so that effort can choose among them

  // Ids that text generation needs; -1 = none.
  int64_t bos_token_id = -1;
  int64_t eos_token_id = -1;
  int64_t pad_token_id = -1;
  std::vector<int64_t> more_eos_token_ids;  // what follows the first in a model folder's list of them; no setting

  /// What stood for each end of line of the text files it was trained on, such as " <eos> "; empty = themselves. No
  /// setting of its own: data.line_end.
  std::string line_end;
  /// Whether it was trained with attention inside one document only. No setting of its own: data.document_attention.
  bool document_attention = false;

  /// All tokens that end a text, the first of them eos_token_id; empty when there is none.
  std::vector<int64_t> eos_token_ids() const;
  /// Window of a layer in tokens, 0 = full attention.
  int64_t window(int64_t layer) const;
  /// True where the layer has experts, false where it is dense.
  bool is_moe(int64_t layer) const { return layer >= num_dense_layers; }
  int64_t dense_width() const {
    return dense_intermediate_size > 0 ? dense_intermediate_size : num_experts_per_tok * intermediate_size;
  }
  /// Experts per token at "low" (1), "medium" (k), "high" (2k, at most E). @throws Error(usage) for another word
  int64_t experts_at(const std::string& reasoning_effort) const;
  /// True when transformers' gpt_oss describes this architecture exactly.
  bool is_gpt_oss() const;

  template <class V>
  void describe(V& field) {
    field("vocab_size", vocab_size, between(2, 1 << 24), "tokens the model knows");
    field("hidden_size", hidden_size, between(1, 1 << 16), "width of the residual stream");
    field("num_hidden_layers", num_hidden_layers, between(1, 1024), "blocks");
    field("num_attention_heads", num_attention_heads, between(1, 4096), "query heads");
    field("num_key_value_heads", num_key_value_heads, between(1, 4096),
          "key and value heads; divides num_attention_heads");
    field("head_dim", head_dim, between(2, 1024), "width of a head; even");
    field("num_experts", num_experts, between(1, 4096), "experts of a layer", "model.num_local_experts");
    field("num_experts_per_tok", num_experts_per_tok, between(1, 4096), "experts chosen for a token",
          "model.experts_per_token");
    field("intermediate_size", intermediate_size, between(1, 1 << 18), "width of an expert");
    field("max_position_embeddings", max_position_embeddings, between(2, 1 << 24), "longest sequence in tokens");
    field("sliding_window", sliding_window, between(0, 1 << 24),
          "tokens a windowed layer sees; 0 = every layer sees all");
    field("layer_types", layer_types, one_of({"sliding_attention", "full_attention"}),
          "one word per layer; empty = alternating, sliding_attention first");
    field.section("rope", rope, "rotary position embedding", "model.rope_scaling");
    field("rms_norm_eps", rms_norm_eps, between(1e-20, 1), "added to the mean square in norms");
    field("initializer_range", initializer_range, between(1e-10, 100), "standard deviation of new weights");
    field("tie_word_embeddings", tie_word_embeddings, anything(), "the output head is the input embedding");
    field("attention_sinks", attention_sinks, anything(), "one learned logit per head that takes attention away");
    field("attention_bias", attention_bias, anything(), "biases in the attention projections");
    field("router_bias", router_bias, anything(), "bias in the router");
    field("expert_bias", expert_bias, anything(), "biases in the experts");
    field("swiglu_limit", swiglu_limit, zero_or(1e-6, 1e6), "clamp of gpt-oss's SwiGLU; 0 = plain SwiGLU");
    field("qk_norm", qk_norm, anything(), "RMS norm of queries and keys per head");
    field("logit_softcap", logit_softcap, zero_or(1e-6, 1e6), "bends logits to within +- this; 0 = off");
    field("router_softmax", router_softmax, one_of({"after", "before"}),
          "over the chosen experts only (after the choice) or over all; one expert per token needs before");
    field("num_dense_layers", num_dense_layers, between(0, 1024),
          "first layers that have one SwiGLU in place of experts");
    field("dense_intermediate_size", dense_intermediate_size, between(0, 1 << 18),
          "width of dense layers; 0 = num_experts_per_tok * intermediate_size");
    field("elastic_top_k", elastic_top_k, anything(),
          "train with 1 to twice num_experts_per_tok experts, so that reasoning effort can choose");
    field("bos_token_id", bos_token_id, between(-1, 1 << 24), "token that starts a text; -1 = none or the tokenizer's");
    field("eos_token_id", eos_token_id, between(-1, 1 << 24), "token that ends a text; -1 = none or the tokenizer's");
    field("pad_token_id", pad_token_id, between(-1, 1 << 24),
          "token that fills up a batch; -1 = none or the tokenizer's");
  }
};

/// Checks sizes and combinations. `where` names the file or folder; @throws Error(usage) naming key, value and remedy.
void validate(const ModelConfig& config, const std::string& where);

}  // namespace xinslm
