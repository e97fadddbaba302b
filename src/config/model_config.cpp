#include "xinslm/config/model_config.h"

#include <algorithm>

#include "config/fields.h"
#include "config/nearest.h"
#include "config/validate.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

std::string divisors(int64_t number) {
  std::vector<std::string> list;
  for (int64_t i = 1; i <= number; ++i) {
    if (number % i == 0) list.push_back(std::to_string(i));
  }
  return enumerate(list);
}

void check_heads(const ModelConfig& model, const PlaceOf& place_of) {
  const int64_t heads = model.num_attention_heads, kv_heads = model.num_key_value_heads;
  if (heads % kv_heads != 0) {
    usage_error(prefix_of(place_of("model.num_key_value_heads")), "model.num_key_value_heads is ", kv_heads,
                ", which does not divide num_attention_heads ", heads, "; use ", divisors(heads));
  }
  if (model.head_dim % 2 != 0) {
    usage_error(prefix_of(place_of("model.head_dim")), "model.head_dim is ", model.head_dim,
                ", expected an even number: positions turn its two halves against each other");
  }
}

void check_layers(const ModelConfig& model, const PlaceOf& place_of) {
  const auto listed = static_cast<int64_t>(model.layer_types.size());
  if (listed != 0 && listed != model.num_hidden_layers) {
    usage_error(prefix_of(place_of("model.layer_types")), "model.layer_types names ", listed,
                " layers, expected num_hidden_layers ", model.num_hidden_layers);
  }
  const auto& types = model.layer_types;
  if (model.sliding_window == 0 && std::find(types.begin(), types.end(), "sliding_attention") != types.end()) {
    usage_error(prefix_of(place_of("model.sliding_window")),
                "model.sliding_window is 0, but layer_types names sliding_attention; use a window above 0 or "
                "full_attention for every layer");
  }
  if (model.num_dense_layers > model.num_hidden_layers) {
    usage_error(prefix_of(place_of("model.num_dense_layers")), "model.num_dense_layers is ", model.num_dense_layers,
                ", more than num_hidden_layers ", model.num_hidden_layers);
  }
}

void check_experts(const ModelConfig& model, const PlaceOf& place_of) {
  if (model.num_experts_per_tok > model.num_experts) {
    usage_error(prefix_of(place_of("model.num_experts_per_tok")), "model.num_experts_per_tok is ",
                model.num_experts_per_tok, ", more than num_experts ", model.num_experts, "; use 1 to ",
                model.num_experts);
  }
}

void check_rope(const RopeSettings& rope, const PlaceOf& place_of) {
  if (rope.type == "yarn" && rope.beta_fast <= rope.beta_slow) {
    usage_error(prefix_of(place_of("model.rope.beta_fast")), "model.rope.beta_fast is ", rope.beta_fast,
                ", expected more than beta_slow ", rope.beta_slow);
  }
}

void check_token_id(const char* key, int64_t id, const ModelConfig& model, const PlaceOf& place_of) {
  if (id >= model.vocab_size) {
    usage_error(prefix_of(place_of(key)), key, " is ", id, ", expected less than vocab_size ", model.vocab_size);
  }
}

}  // namespace

std::vector<int64_t> ModelConfig::eos_token_ids() const {
  if (eos_token_id < 0) return {};
  std::vector<int64_t> ids = {eos_token_id};
  ids.insert(ids.end(), more_eos_token_ids.begin(), more_eos_token_ids.end());
  return ids;
}

int64_t ModelConfig::window(int64_t layer) const {
  const bool sliding = layer_types.empty() ? layer % 2 == 0 : layer_types.at(layer) == "sliding_attention";
  return sliding ? sliding_window : 0;
}

int64_t ModelConfig::experts_at(const std::string& reasoning_effort) const {
  if (reasoning_effort == "low") return 1;
  if (reasoning_effort == "medium") return num_experts_per_tok;
  if (reasoning_effort == "high") return std::min(2 * num_experts_per_tok, num_experts);
  usage_error("reasoning effort is \"", reasoning_effort, "\", expected low, medium or high",
              suggestion(reasoning_effort, {"low", "medium", "high"}));
}

bool ModelConfig::is_gpt_oss() const {
  return attention_sinks && router_bias && expert_bias && swiglu_limit == 7.0 && !qk_norm && logit_softcap == 0 &&
         router_softmax == "after" && num_dense_layers == 0;
}

void validate_model(const ModelConfig& model, const PlaceOf& place_of) {
  ModelConfig copy = model;
  for (const Field& field : collect_fields(copy).fields) check_value(field, place_of(field.key));
  check_heads(model, place_of);
  check_layers(model, place_of);
  check_experts(model, place_of);
  check_rope(model.rope, place_of);
  check_token_id("model.bos_token_id", model.bos_token_id, model, place_of);
  for (const int64_t id : model.eos_token_ids()) check_token_id("model.eos_token_id", id, model, place_of);
  check_token_id("model.pad_token_id", model.pad_token_id, model, place_of);
}

void validate(const ModelConfig& config, const std::string& where) {
  validate_model(config, [&](const std::string&) { return where; });
}

}  // namespace xinslm
