#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

#include "xinslm/eval/perplexity.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

/// How far one model's predictions are from another's over a text.
struct DivergenceResult {
  double mean = 0;       ///< Kullback-Leibler divergence of a token's distribution from the reference's, nats
  double largest = 0;    ///< of one token
  double agreement = 0;  ///< share of tokens for which both find the same next token most probable
  int64_t tokens = 0;
  int64_t context = 0;
  std::optional<at::ScalarType> kv_type = {};
};

struct DivergenceOptions {
  int64_t context = 0;  ///< tokens of a window; 0 = all positions of the model, at most 1,024
  int64_t limit = 0;    ///< tokens in all; 0 = the whole file
  /// What the model keeps keys and values in while it reads token by token, as generation does. Without it a window is
  /// one pass, and nothing is kept.
  std::optional<at::ScalarType> kv_type = {};
};

/// Both read a file's first tokens in windows, the same tokens in each; the reference each window in one pass.
/// @throws Error(data) when the file is missing or without text, Error(usage) when the vocabularies differ
DivergenceResult measure_divergence(const Transformer& model, const Transformer& reference, const Tokenizer& tokenizer,
                                    const std::filesystem::path& file, const PerplexityOptions& text,
                                    const DivergenceOptions& options, const ShowProgress& progress = {});

}  // namespace xinslm
