#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "xinslm/config/model_config.h"

namespace xinslm {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Reads config.json of a Hugging Face folder. Keys we cannot honour are errors. @throws Error(data)
ModelConfig read_model_config(const std::filesystem::path& folder);
void write_model_config(const std::filesystem::path& folder, const ModelConfig& config, const std::string& torch_dtype);

/// Writes model.safetensors, in shards with an index above shard_bytes.
void write_weights(const std::filesystem::path& folder, const NamedTensors& weights, int64_t shard_bytes = int64_t{4} << 30);

/// Every tensor of the folder, memory-mapped (no copy; the map lives as long as a tensor does).
NamedTensors read_weights(const std::filesystem::path& folder);

/// One safetensors file. @throws Error(data) naming file and tensor on any inconsistency: never crashes on a bad file
NamedTensors read_safetensors(const std::filesystem::path& file);
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors,
                       const std::vector<std::pair<std::string, std::string>>& metadata = {});

}  // namespace xinslm
