#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "xinslm/eval/scorer.h"
#include "xinslm/eval/statistics.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

struct SpeedOptions {
  int64_t prompt_tokens = 512;
  int64_t generate_tokens = 128;
  std::vector<int64_t> depths = {0};  ///< tokens that are in the KV cache before the timing starts; at least one number
  int64_t repetitions = 5;
  int64_t num_experts_per_tok = 0;        ///< 0 = configured
  std::optional<at::ScalarType> kv_type;  ///< what keys and values are kept in; without it default_kv_type()
};

struct SpeedResult {
  int64_t depth = 0;
  at::ScalarType kv_type;
  Estimate prompt;    ///< tokens a second over the repetitions, of a prompt computed at once; count 0 = not asked for
  Estimate generate;  ///< tokens a second, one after the other, the choice of the token included
  double bytes_per_token = 0;  ///< weights, and keys and values in the middle of the run, that generation reads
  double read_bandwidth = 0;   ///< bytes a second that large weights were read with afterwards; 0 but on the processor

  /// Bytes a second that generation read, as a share of what the memory gives; 0 where that was not measured.
  double bus_share() const;
};

/// Times the model on random tokens after one run to warm up, each repetition from a cache of so many tokens; what
/// llama-bench's pp and tg tests measure. Depths take turns at every repetition, so that they compare where a machine's
/// speed changes with time.
/// @return a result for each depth, in their order
/// @throws Error(usage) for lengths the model does not have
std::vector<SpeedResult> measure_speed(const Transformer& model, const SpeedOptions& options,
                                       const ShowProgress& progress = {});

}  // namespace xinslm
