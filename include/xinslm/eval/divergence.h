#pragma once
#include <cstdint>
#include <filesystem>

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
};

/// Both read a file's first tokens in windows of `context`, the same tokens in each.
/// @param limit  tokens; 0 = all
/// @throws Error(data) when the file is missing or without text, Error(usage) when the vocabularies differ
DivergenceResult measure_divergence(const Transformer& model, const Transformer& reference, const Tokenizer& tokenizer,
                                    const std::filesystem::path& file, const PerplexityOptions& text, int64_t context,
                                    int64_t limit, const ShowProgress& progress = {});

}  // namespace xinslm
