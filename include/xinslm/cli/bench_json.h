#pragma once
#include <string>
#include <vector>

#include "xinslm/core/json.h"
#include "xinslm/eval/divergence.h"
#include "xinslm/eval/perplexity.h"
#include "xinslm/eval/speed.h"
#include "xinslm/eval/task.h"

namespace xinslm::cli {

/// task, protocol, each metric and its _stderr, items, seconds, data, sha256.
Json task_json(const TaskResult& result);

/// nll_sum, tokens, words, bytes, perplexity, word_perplexity, bits_per_byte, and how they were measured.
Json perplexity_json(const PerplexityResult& result);

/// mean, largest, agreement, tokens, context.
Json divergence_json(const DivergenceResult& result);

/// Mean, deviation and count of each speed; of several depths a list of these, "depths".
Json speed_json(const SpeedOptions& options, const std::vector<SpeedResult>& results);

}  // namespace xinslm::cli
