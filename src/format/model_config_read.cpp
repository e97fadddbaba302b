#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>

#include "format/json_fields.h"
#include "format/token_ids.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/format/owned_files.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// rope_parameters (transformers 5) or rope_scaling (4), whose theta may stand beside it.
RopeSettings read_rope(const Json& object, const std::string& where, double theta, int64_t max_positions) {
  JsonFields fields(object, where);
  RopeSettings rope;
  rope.theta = theta;
  fields.read("rope_theta", rope.theta);
  rope.type = "default";
  if (!fields.read("rope_type", rope.type)) fields.read("type", rope.type);
  fields.expect("partial_rotary_factor", 1.0);
  if (rope.type == "default") {
    fields.ignore({"type", "factor", "beta_fast", "beta_slow", "original_max_position_embeddings", "truncate"});
  } else if (rope.type == "yarn") {
    fields.ignore({"type"});
    fields.require("factor", rope.factor);
    fields.read("beta_fast", rope.beta_fast);
    fields.read("beta_slow", rope.beta_slow);
    rope.original_max_position_embeddings = max_positions;
    fields.read("original_max_position_embeddings", rope.original_max_position_embeddings);
    rope.truncate = true;  // what transformers assumes of a yarn section without the key
    fields.read("truncate", rope.truncate);
    double attention_factor = 0;
    if (fields.read("attention_factor", attention_factor) &&
        std::abs(attention_factor - (0.1 * std::log(rope.factor) + 1)) > 1e-6) {
      data_error(where, ": attention_factor is ", attention_factor, "; this version can only do 0.1 ln(factor) + 1");
    }
  } else {
    data_error(where, ": rope_type is \"", rope.type, "\"; this version knows default and yarn");
  }
  fields.finish();
  return rope;
}

bool same(const RopeSettings& a, const RopeSettings& b) {
  const bool plain = a.type == "default";
  return a.type == b.type && a.theta == b.theta &&
         (plain ||
          (a.factor == b.factor && a.beta_fast == b.beta_fast && a.beta_slow == b.beta_slow &&
           a.original_max_position_embeddings == b.original_max_position_embeddings && a.truncate == b.truncate));
}

void read_positions(JsonFields& fields, ModelConfig& config) {
  fields.require("max_position_embeddings", config.max_position_embeddings);
  fields.read("rope_theta", config.rope.theta);
  const double theta = config.rope.theta;
  const Json* current = fields.find("rope_parameters");
  const Json* older = fields.find("rope_scaling");
  const auto read = [&](const Json& json, const char* key) {
    return read_rope(json, fields.where() + ": " + key, theta, config.max_position_embeddings);
  };
  if (current != nullptr) config.rope = read(*current, "rope_parameters");
  if (older != nullptr) {
    const RopeSettings other = read(*older, "rope_scaling");
    if (current != nullptr && !same(config.rope, other)) {
      data_error(fields.where(), ": rope_parameters and rope_scaling differ; remove the wrong one");
    }
    config.rope = other;
  }
  // gpt-oss's own files say the same again in the words of the original release.
  fields.ignore({"initial_context_length"});
  if (config.rope.type == "yarn") fields.expect("initial_context_length", config.rope.original_max_position_embeddings);
}

/// Sizes far beyond any model's would overflow the products of them, and only come from damaged files.
void check_sizes(const JsonFields& fields, const ModelConfig& config) {
  const std::tuple<const char*, int64_t, int64_t> limits[] = {
      {"vocab_size", config.vocab_size, int64_t{1} << 26},
      {"hidden_size", config.hidden_size, int64_t{1} << 18},
      {"num_hidden_layers", config.num_hidden_layers, int64_t{1} << 12},
      {"num_attention_heads", config.num_attention_heads, int64_t{1} << 14},
      {"num_key_value_heads", config.num_key_value_heads, int64_t{1} << 14},
      {"head_dim", config.head_dim, int64_t{1} << 14},
      {"num_local_experts", config.num_experts, int64_t{1} << 13},
      {"intermediate_size", config.intermediate_size, int64_t{1} << 18},
  };
  for (const auto& [key, value, limit] : limits) {
    if (value < 1 || value > limit) fields.fail(key, value, cat("expected 1 to ", limit));
  }
}

void read_sizes(JsonFields& fields, ModelConfig& config) {
  fields.require("vocab_size", config.vocab_size);
  fields.require("hidden_size", config.hidden_size);
  fields.require("num_hidden_layers", config.num_hidden_layers);
  fields.require("num_attention_heads", config.num_attention_heads);
  config.num_key_value_heads = config.num_attention_heads;
  fields.read("num_key_value_heads", config.num_key_value_heads);
  config.head_dim = 64;
  fields.read("head_dim", config.head_dim);
  fields.require("num_local_experts", config.num_experts);
  fields.require("num_experts_per_tok", config.num_experts_per_tok);
  fields.expect("experts_per_token", config.num_experts_per_tok);
  fields.require("intermediate_size", config.intermediate_size);
  check_sizes(fields, config);
}

void read_layers(JsonFields& fields, ModelConfig& config) {
  fields.read("layer_types", config.layer_types);
  config.sliding_window = 0;
  const bool has_window = fields.read("sliding_window", config.sliding_window);
  bool any_sliding = config.layer_types.empty();
  for (const std::string& type : config.layer_types) any_sliding = any_sliding || type == "sliding_attention";
  if (!any_sliding) config.sliding_window = 0;
  if (any_sliding && !has_window) data_error(fields.where(), ": sliding_window is missing, but layers slide");
}

/// @return the id, or -1
int64_t read_id(JsonFields& fields, const std::string& key) {
  const std::vector<int64_t> ids = read_ids(fields, key);
  if (ids.size() > 1) fields.fail(key, *fields.find(key), "expected one token id");
  return ids.empty() ? -1 : ids.front();
}

/// What generation_config.json says ends a text counts as what config.json says; others' models may have it there
/// alone.
void add_ends(ModelConfig& config, const std::vector<int64_t>& ends) {
  for (const int64_t id : ends) {
    const std::vector<int64_t> known = config.eos_token_ids();
    if (std::ranges::find(known, id) != known.end()) continue;
    if (known.empty()) {
      config.eos_token_id = id;
    } else {
      config.more_eos_token_ids.push_back(id);
    }
  }
}

/// Switches that transformers' gpt_oss does not have, and how the model was trained.
void read_departures(const Json& object, const std::string& where, ModelConfig& config) {
  JsonFields fields(object, where);
  fields.read("attention_sinks", config.attention_sinks);
  fields.read("router_bias", config.router_bias);
  fields.read("expert_bias", config.expert_bias);
  fields.read("qk_norm", config.qk_norm);
  fields.read("logit_softcap", config.logit_softcap);
  fields.read("router_softmax", config.router_softmax);
  fields.read("num_dense_layers", config.num_dense_layers);
  fields.read("dense_intermediate_size", config.dense_intermediate_size);
  fields.read("elastic_top_k", config.elastic_top_k);
  fields.read("line_end", config.line_end);
  fields.read("document_attention", config.document_attention);
  fields.finish();
}

void check_readable(JsonFields& fields) {
  if (const Json* quantization = fields.find("quantization_config")) {
    const std::string method = quantization->is_object() ? quantization->value("quant_method", "") : "";
    if (method != "mxfp4") {
      data_error(fields.where(), ": quantization_config names the method \"", method,
                 "\"; only mxfp4 is read here: use an unquantised bfloat16 or float32 copy of the model");
    }
  }
  std::string type;
  fields.require("model_type", type);
  if (type != "gpt_oss" && type != "xinslm_moe") {
    data_error(fields.where(), ": model_type is \"", type, "\"; this version reads gpt_oss and xinslm_moe");
  }
  fields.expect("hidden_act", std::string("silu"));
  fields.expect("attention_dropout", 0.0);
  fields.expect("swiglu_alpha", 1.702);
  fields.expect("is_encoder_decoder", false);
}

}  // namespace

ModelConfig read_model_config(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const Json json = read_json(file);
  JsonFields fields(json, file.string());
  check_readable(fields);
  ModelConfig config;
  read_sizes(fields, config);
  read_positions(fields, config);
  read_layers(fields, config);
  fields.read("rms_norm_eps", config.rms_norm_eps);
  fields.read("initializer_range", config.initializer_range);
  fields.read("attention_bias", config.attention_bias);
  fields.read("swiglu_limit", config.swiglu_limit);
  fields.read("tie_word_embeddings", config.tie_word_embeddings);
  config.bos_token_id = read_id(fields, "bos_token_id");
  if (const std::vector<int64_t> ends = read_ids(fields, "eos_token_id"); !ends.empty()) {
    config.eos_token_id = ends.front();
    config.more_eos_token_ids.assign(ends.begin() + 1, ends.end());
  }
  config.pad_token_id = read_id(fields, "pad_token_id");
  if (const Json* departures = fields.find("xinslm")) read_departures(*departures, fields.where() + ": xinslm", config);
  fields.ignore({"architectures", "transformers_version", "torch_dtype", "dtype", "use_cache", "output_router_logits",
                 "router_aux_loss_coef", "output_attentions", "output_hidden_states", "return_dict", "_name_or_path",
                 "_attn_implementation", "unsloth_version", "max_length", "id2label", "label2id", written_by_key});
  fields.finish();
  try {
    validate(config, file.string());
  } catch (const Error& problem) {
    data_error(problem.what());  // a model folder is data, not a setting of the user's
  }
  add_ends(config, read_generation_config(folder, config.vocab_size).eos_token_ids);
  return config;
}

}  // namespace xinslm
