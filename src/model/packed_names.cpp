#include "xinslm/model/packed_names.h"

#include "xinslm/core/json.h"
#include "xinslm/format/owned_files.h"

namespace xinslm {

bool is_expert_matrix(std::string_view name) {
  return name.ends_with("experts.gate_up_proj") || name.ends_with("experts.down_proj");
}

bool is_attention_matrix(std::string_view name) {
  return name.find(".self_attn.") != std::string_view::npos && name.ends_with("_proj.weight");
}

void mark_packed(const std::filesystem::path& folder) {
  Json config = read_json(folder / "config.json");
  config["quantization_config"] = {
      {"quant_method", "mxfp4"},
      {"modules_to_not_convert",
       {"model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"}}};
  config[written_by_key] = written_by;
  write_json(folder / "config.json", config);
}

}  // namespace xinslm
