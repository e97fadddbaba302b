#include "format/token_ids.h"
#include "xinslm/core/error.h"
#include "xinslm/core/json.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/format/owned_files.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

Json id(int64_t token) {
  return token < 0 ? Json(nullptr) : Json(token);
}

Json ids(const std::vector<int64_t>& tokens) {
  return tokens.empty() ? Json(nullptr) : one_or_list(tokens);
}

Json rope_json(const RopeSettings& rope) {
  Json json;
  json["rope_type"] = rope.type;
  json["rope_theta"] = rope.theta;
  if (rope.type == "default") return json;
  json["factor"] = rope.factor;
  json["beta_fast"] = rope.beta_fast;
  json["beta_slow"] = rope.beta_slow;
  json["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  json["truncate"] = rope.truncate;
  return json;
}

/// What stands under the xinslm key: switches that differ from gpt-oss, and how the model was trained.
Json departures(const ModelConfig& config) {
  const ModelConfig plain;
  Json json = Json::object();
  const auto put = [&](const char* key, const auto& value, const auto& usual) {
    if (value != usual) json[key] = value;
  };
  put("attention_sinks", config.attention_sinks, plain.attention_sinks);
  put("router_bias", config.router_bias, plain.router_bias);
  put("expert_bias", config.expert_bias, plain.expert_bias);
  put("qk_norm", config.qk_norm, plain.qk_norm);
  put("logit_softcap", config.logit_softcap, plain.logit_softcap);
  put("router_softmax", config.router_softmax, plain.router_softmax);
  put("num_dense_layers", config.num_dense_layers, plain.num_dense_layers);
  put("dense_intermediate_size", config.dense_intermediate_size, plain.dense_intermediate_size);
  put("elastic_top_k", config.elastic_top_k, plain.elastic_top_k);
  put("line_end", config.line_end, plain.line_end);
  put("document_attention", config.document_attention, plain.document_attention);
  return json;
}

Json layer_types(const ModelConfig& config) {
  Json types = Json::array();
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    types.push_back(config.window(layer) > 0 ? "sliding_attention" : "full_attention");
  }
  return types;
}

}  // namespace

void write_model_config(const fs::path& folder, const ModelConfig& config, const std::string& torch_dtype) {
  const bool exact = config.is_gpt_oss();
  Json json;
  json["architectures"] = {exact ? "GptOssForCausalLM" : "XinslmMoeForCausalLM"};
  json["model_type"] = exact ? "gpt_oss" : "xinslm_moe";
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["head_dim"] = config.head_dim;
  json["num_local_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.num_experts_per_tok;
  json["intermediate_size"] = config.intermediate_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["layer_types"] = layer_types(config);
  // transformers builds both masks whichever layers use them, and has no word for "no window": any number serves.
  json["sliding_window"] = config.sliding_window > 0 ? config.sliding_window : config.max_position_embeddings;
  json["rope_parameters"] = rope_json(config.rope);  // transformers 5
  json["rope_scaling"] = rope_json(config.rope);     // transformers 4
  json["rope_theta"] = config.rope.theta;            // transformers 4
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["initializer_range"] = config.initializer_range;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["attention_bias"] = config.attention_bias;
  json["attention_dropout"] = 0.0;
  json["hidden_act"] = "silu";
  json["swiglu_limit"] = config.swiglu_limit;
  json["bos_token_id"] = id(config.bos_token_id);
  json["eos_token_id"] = ids(config.eos_token_ids());
  json["pad_token_id"] = id(config.pad_token_id);
  json["dtype"] = torch_dtype;        // transformers 4.56 and later
  json["torch_dtype"] = torch_dtype;  // before
  json["use_cache"] = true;
  const Json ours = departures(config);
  if (!ours.empty()) json["xinslm"] = ours;
  json[written_by_key] = written_by;
  write_json(folder / "config.json", json);
}

}  // namespace xinslm
