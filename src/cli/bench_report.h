#pragma once
#include <string>
#include <utility>
#include <vector>

#include "xinslm/eval/divergence.h"
#include "xinslm/eval/perplexity.h"
#include "xinslm/eval/speed.h"
#include "xinslm/eval/task.h"

namespace xinslm::cli {

/// A reasoning effort and the experts a token may use at it; 0 = as the model is configured.
struct Effort {
  std::string name;
  int64_t experts;
};

template <class Result>
using ByEffort = std::vector<std::pair<Effort, Result>>;

/// The result at medium effort, as the model was trained, or the only one.
template <class Result>
const Result& main_result(const ByEffort<Result>& results) {
  for (const auto& [effort, result] : results) {
    if (effort.name == "medium") return result;
  }
  return results.front().second;
}

std::string task_table(const TaskResult& result);
std::string perplexity_table(const ByEffort<PerplexityResult>& results);
std::string divergence_table(const DivergenceResult& result);
std::string speed_table(const SpeedOptions& options, const ByEffort<std::vector<SpeedResult>>& results);

}  // namespace xinslm::cli
