#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "xinslm/config/model_config.h"
#include "xinslm/format/safetensors.h"

namespace xinslm {

/// Reads config.json of a Hugging Face folder: model_type gpt_oss, or xinslm_moe where switches under the `xinslm` key
/// depart from it. Keys we cannot honour are errors. @throws Error(data) naming file, key and what was expected
ModelConfig read_model_config(const std::filesystem::path& folder);

/// Writes a config.json that transformers 4.55 and later read, 5.x included.
/// @param torch_dtype  type of the matrices: "float32" or "bfloat16"
void write_model_config(const std::filesystem::path& folder, const ModelConfig& config, const std::string& torch_dtype);

/// Writes generation_config.json: the ids that start, end and pad a text.
void write_generation_config(const std::filesystem::path& folder, const ModelConfig& config);

/// Writes model.safetensors, or above shard_bytes model-00001-of-0000N.safetensors with model.safetensors.index.json.
void write_weights(const std::filesystem::path& folder, const NamedTensors& weights,
                   int64_t shard_bytes = int64_t{4} << 30);
void write_weights(const std::filesystem::path& folder, const TensorSources& weights,
                   int64_t shard_bytes = int64_t{4} << 30);

/// Every tensor of the folder, memory-mapped (no copy; the map lives as long as a tensor does; not to be written to).
/// @throws Error(data) when the folder has no weights, a shard is missing or damaged, or the index disagrees with it
NamedTensors read_weights(const std::filesystem::path& folder);

}  // namespace xinslm
