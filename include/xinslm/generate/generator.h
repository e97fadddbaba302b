#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

struct SamplingOptions {
  double temperature = 0.8;         ///< 0 = greedy
  int64_t top_k = 0;                ///< 0 = all
  double top_p = 0.95;
  double min_p = 0.0;
  double repetition_penalty = 1.0;  ///< Keskar et al. 2019
  uint64_t seed = 0;
};

struct TokenChoice {
  TokenId id;
  double log_probability;  ///< of the model, before temperature and filters
  std::vector<std::pair<TokenId, double>> alternatives;  ///< the n best, on request
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 128;
  int64_t num_experts_per_tok = 0;   ///< 0 = configured
  int64_t logprobs = 0;              ///< alternatives to report
  std::vector<TokenId> stop_tokens;
  std::vector<std::string> stop_texts;
  bool keep_special = false;         ///< show special tokens in the text
};

struct GenerateResult {
  std::vector<TokenChoice> tokens;
  std::string text;
  std::string finish_reason;  ///< "stop", "length", "context" or "interrupted"
  int64_t prompt_tokens = 0, reused_tokens = 0;
  double prompt_seconds = 0, generate_seconds = 0;
};

/// One conversation with a model: keeps the KV cache and computes only tokens that are new since the last call.
class Generator {
 public:
  Generator(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer);
  ~Generator();

  /// @param ids      the whole conversation so far; the longest prefix already in the cache is reused
  /// @param on_text  called with text as it becomes complete; returning false stops the generation
  GenerateResult generate(const std::vector<TokenId>& ids, const GenerateOptions& options,
                          const std::function<bool(const std::string&)>& on_text = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xinslm
