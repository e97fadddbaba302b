#pragma once
#include <string>

#include "xinslm/cli/common.h"
#include "xinslm/core/json.h"
#include "xinslm/generate/generator.h"

namespace xinslm::cli {

/// One generated text: text, ids, log_probabilities, their sum, alternatives where asked for, counts, speeds, and why
/// it ended.
Json generation_json(const GenerateResult& result, const Tokenizer& tokenizer);

/// What `infer --json` prints: the model, the seed, peak_memory in bytes, the first sample's keys, and all samples
/// under "samples" when there are several.
Json infer_json(const OpenModel& open, uint64_t seed, const Json& samples);

/// One line: the chosen token and the best ones with their probabilities.
std::string describe_choice(const TokenChoice& choice, const Tokenizer& tokenizer);

/// One line: tokens and speeds of prompt and answer, memory.
std::string speed_line(const GenerateResult& result);

}  // namespace xinslm::cli
