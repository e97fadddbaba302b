#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "xinslm/config/generation_settings.h"
#include "xinslm/config/model_config.h"
#include "xinslm/format/safetensors.h"

namespace xinslm {

/// Reads config.json of a Hugging Face folder: model_type gpt_oss, or xinslm_moe where switches under the `xinslm` key
/// depart from it. Tokens that generation_config.json says end a text are added. Keys we cannot honour are errors.
/// @throws Error(data) naming file, key and what was expected
ModelConfig read_model_config(const std::filesystem::path& folder);

/// Writes a config.json that transformers 4.55 and later read, 5.x included.
/// @param torch_dtype  type of the matrices: "float32" or "bfloat16"
void write_model_config(const std::filesystem::path& folder, const ModelConfig& config, const std::string& torch_dtype);

/// What generation_config.json says: how its maker would have text generated, and the tokens that end one.
struct GenerationConfig {
  GenerationSettings settings;  ///< those of our defaults that it does not replace
  std::vector<int64_t> eos_token_ids;
};

/// Reads generation_config.json, ours or anyone's: keys that mean nothing here are left alone. A folder without one
/// gives the defaults.
/// @param vocab_size  the ids must be below it
/// @throws Error(data) naming file and key for a value of the wrong kind or out of range
GenerationConfig read_generation_config(const std::filesystem::path& folder, int64_t vocab_size);

/// Writes generation_config.json as transformers reads it: the ids that start, end and pad a text, and the settings.
void write_generation_config(const std::filesystem::path& folder, const ModelConfig& config,
                             const GenerationSettings& generation = {});

/// Writes model.safetensors, or above shard_bytes model-00001-of-0000N.safetensors with model.safetensors.index.json.
void write_weights(const std::filesystem::path& folder, const NamedTensors& weights,
                   int64_t shard_bytes = int64_t{4} << 30);
void write_weights(const std::filesystem::path& folder, const TensorSources& weights,
                   int64_t shard_bytes = int64_t{4} << 30);

/// Every tensor of the folder, memory-mapped (no copy; the map lives as long as a tensor does; not to be written to).
/// @throws Error(data) when the folder has no weights, a shard is missing or damaged, or the index disagrees with it
NamedTensors read_weights(const std::filesystem::path& folder);

}  // namespace xinslm
