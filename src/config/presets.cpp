#include "config/presets.h"

#include "config/fields.h"
#include "config/nearest.h"
#include "xinslm/core/error.h"

namespace xinslm {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {"ultra_light",
       "{hidden_size: 512, num_hidden_layers: 12, num_attention_heads: 8, num_key_value_heads: 2, num_experts: 16, "
       "num_experts_per_tok: 1, router_softmax: before, intermediate_size: 1536, tie_word_embeddings: true}"},
      {"light",
       "{hidden_size: 640, num_hidden_layers: 16, num_attention_heads: 10, num_key_value_heads: 2, num_experts: 24, "
       "num_experts_per_tok: 2, intermediate_size: 1792, tie_word_embeddings: true}"},
      {"standard",
       "{hidden_size: 768, num_hidden_layers: 20, num_attention_heads: 12, num_key_value_heads: 4, num_experts: 32, "
       "num_experts_per_tok: 2, intermediate_size: 2048, tie_word_embeddings: true}"},
      {"performance",
       "{hidden_size: 896, num_hidden_layers: 22, num_attention_heads: 14, num_key_value_heads: 2, num_experts: 48, "
       "num_experts_per_tok: 3, intermediate_size: 2400, tie_word_embeddings: true}"},
      // openai/gpt-oss config.json
      {"gpt-oss-20b",
       "{vocab_size: 201088, hidden_size: 2880, num_hidden_layers: 24, num_attention_heads: 64, "
       "num_key_value_heads: 8, num_experts: 32, num_experts_per_tok: 4, intermediate_size: 2880, "
       "max_position_embeddings: 131072, bos_token_id: 199998, eos_token_id: 200002, pad_token_id: 199999}"},
      {"gpt-oss-120b",
       "{vocab_size: 201088, hidden_size: 2880, num_hidden_layers: 36, num_attention_heads: 64, "
       "num_key_value_heads: 8, num_experts: 128, num_experts_per_tok: 4, intermediate_size: 2880, "
       "max_position_embeddings: 131072, bos_token_id: 199998, eos_token_id: 200002, pad_token_id: 199999}"},
      {"quickstart",
       "{vocab_size: 2048, hidden_size: 192, num_hidden_layers: 4, num_attention_heads: 6, num_key_value_heads: 2, "
       "head_dim: 32, num_experts: 4, num_experts_per_tok: 2, intermediate_size: 896, max_position_embeddings: 512, "
       "rope: {type: default, theta: 10000}, tie_word_embeddings: true}"},
      {"tinystories",
       "{vocab_size: 4096, hidden_size: 256, num_hidden_layers: 6, num_attention_heads: 4, num_key_value_heads: 2, "
       "num_experts: 8, num_experts_per_tok: 2, intermediate_size: 640, max_position_embeddings: 1024, "
       "rope: {type: default, theta: 10000}, tie_word_embeddings: true}"},
      {"wikitext2",
       "{vocab_size: 8192, hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 6, num_key_value_heads: 2, "
       "num_experts: 4, num_experts_per_tok: 2, intermediate_size: 512, max_position_embeddings: 1024, "
       "rope: {type: default, theta: 10000}, qk_norm: true, tie_word_embeddings: true}"},
  };
  return table;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.push_back(preset.name);
  return names;
}

const Preset& find_preset(const std::string& name, const std::string& place) {
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
  }
  usage_error(prefix_of(place), "no model preset \"", name, "\"", suggestion(name, preset_names()), "; there are ",
              enumerate(preset_names(), " and "));
}

}  // namespace xinslm
