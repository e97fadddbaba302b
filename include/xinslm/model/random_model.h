#pragma once
#include <cstdint>
#include <filesystem>

#include "xinslm/config/generation_settings.h"
#include "xinslm/config/model_config.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Writes an untrained model, tensor by tensor, so that it may be larger than memory: what training starts from, and
/// what speed and memory are measured with.
///
/// @param packed  experts in MXFP4 (random codes, one scale: values of about initializer_range), the rest in bfloat16;
///                else everything that training keeps in the model's type is bfloat16
/// @param replace  a model at the target is replaced
/// @throws Interrupted by the signals of InterruptGuard; Error(usage) for MXFP4 and widths that are no multiples of 32;
/// Error(data) when writing fails
void write_random_model(const std::filesystem::path& target, const ModelConfig& config, const Tokenizer& tokenizer,
                        bool packed, uint64_t seed, bool replace = false, const GenerationSettings& generation = {});

}  // namespace xinslm
