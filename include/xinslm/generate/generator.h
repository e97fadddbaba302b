#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/generate/sampler.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

struct TokenChoice {
  TokenId id;
  double log_probability;                                ///< of the model, before temperature and filters
  std::vector<std::pair<TokenId, double>> alternatives;  ///< the n best, on request
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 128;
  int64_t num_experts_per_tok = 0;  ///< 0 = configured
  int64_t logprobs = 0;             ///< alternatives to report
  std::vector<TokenId> stop_tokens;
  std::vector<std::string> stop_texts;
  bool keep_special = false;  ///< show special tokens in the text
};

/// Tokens that end a text: the tokenizer's and those the model's configuration names.
std::vector<TokenId> text_ends(const ModelConfig& config, const Tokenizer& tokenizer);

struct GenerateResult {
  std::vector<TokenChoice> tokens;  ///< without the stop token; with the tokens of a stop text
  TokenId stop_token = -1;          ///< the stop token that ended the answer, or -1
  bool stopped_by_text = false;     ///< a stop text ended it; the tokens then stand for more than the text
  std::string text;                 ///< without the stop text
  std::string finish_reason;        ///< "stop", "length", "context" or "interrupted"
  int64_t prompt_tokens = 0, reused_tokens = 0;
  double prompt_seconds = 0, generate_seconds = 0;

  std::vector<TokenId> ids() const;
  double log_probability() const;           ///< sum over the tokens
  double prompt_tokens_per_second() const;  ///< of the tokens that were computed, reused ones not counted
  double generate_tokens_per_second() const;
};

/// One conversation with a model: keeps the KV cache and computes only tokens that are new since the last call.
class Generator {
 public:
  /// The model must outlive the generator.
  /// @param kv_type  what keys and values are kept in; without it default_kv_type()
  Generator(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer,
            std::optional<at::ScalarType> kv_type = {});
  ~Generator();

  /// Ends at a stop token or stop text ("stop"), after max_tokens ("length"), when the model's positions are used up
  /// ("context"), or when InterruptGuard::requested() or on_text says so ("interrupted").
  ///
  /// @param ids      the whole conversation so far; the longest prefix already in the cache is reused
  /// @param on_text  called with text as it becomes complete; returning false stops the generation
  /// @throws Error(usage) when ids are empty, longer than the model's positions or outside its vocabulary, or an option
  ///         is out of range
  GenerateResult generate(const std::vector<TokenId>& ids, const GenerateOptions& options,
                          const std::function<bool(const std::string&)>& on_text = {});

  const Transformer& model() const;
  /// Tokens the cache holds, and its size.
  int64_t cached_tokens() const;
  int64_t cache_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xinslm
