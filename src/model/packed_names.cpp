#include "xinslm/model/packed_names.h"

#include "xinslm/core/json.h"
#include "xinslm/format/owned_files.h"

namespace xinslm {

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
