#pragma once
#include <filesystem>
#include <memory>

#include "xinslm/config/generation_settings.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Opens a model folder. Float CPU weights stay memory-mapped when their type is already `type`; weights for a GPU are
/// copied once, out of the map into its memory.
/// @throws Error(data) naming the folder and the missing or misshapen tensor, Error(usage) when a GPU cannot hold them
Transformer load_model(const std::filesystem::path& folder, at::Device device, at::ScalarType type);

/// Writes config.json, weights, generation_config.json and the tokenizer into the folder (not atomic by itself; use
/// AtomicDirectory around it).
void save_model(const std::filesystem::path& folder, const Transformer& model, const Tokenizer& tokenizer,
                const GenerationSettings& generation = {});

}  // namespace xinslm
