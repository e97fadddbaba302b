#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "xinslm/config/generation_settings.h"
#include "xinslm/core/random.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

struct SamplingOptions {
  double temperature = 0.8;  ///< 0 = greedy
  int64_t top_k = 0;         ///< 0 = all
  double top_p = 0.95;
  double min_p = 0.0;
  double repetition_penalty = 1.0;  ///< Keskar et al. 2019
  uint64_t seed = 0;

  /// The same numbers as settings, which say what each may be; without the seed, which may be one mixed of others.
  GenerationSettings settings() const;
  void take(const GenerationSettings& settings);
};

/// Checks the ranges, those of GenerationSettings. @throws Error(usage) naming the option, its value and what is
/// allowed
void validate(const SamplingOptions& options);

/// Chooses tokens. The filters apply one after the other: repetition penalty, temperature, top-k, top-p (Holtzman et
/// al. 2020), min-p (Nguyen et al. 2024). The same seed and the same logits give the same tokens.
class Sampler {
 public:
  /// @throws Error(usage) for an option out of range
  explicit Sampler(const SamplingOptions& options);

  /// @param logits   [V] float32
  /// @param history  tokens the repetition penalty counts as seen
  TokenId sample(std::span<const float> logits, std::span<const TokenId> history);

  /// What sample() chooses from: tokens with weights, not normalised, best first where an order was needed.
  struct Candidate {
    TokenId id;
    float logit;
    double weight;  ///< exp((logit - best) / temperature)
  };
  const std::vector<Candidate>& candidates(std::span<const float> logits, std::span<const TokenId> history);

 private:
  std::span<const float> penalized(std::span<const float> logits, std::span<const TokenId> history);
  void keep_top_k();
  void keep_top_p(size_t vocabulary);
  void keep_min_p();

  SamplingOptions options_;
  RandomStream random_;
  std::vector<float> scratch_;
  std::vector<bool> seen_;
  std::vector<Candidate> candidates_;
};

/// The n best tokens with their log-probabilities, best first; equal ones by id.
/// @param logits              [V] float32
/// @param log_normalizer      log of the sum of exp(logits)
std::vector<std::pair<TokenId, double>> best_tokens(std::span<const float> logits, double log_normalizer, int64_t n);

/// The most probable token; the lowest id of equals.
TokenId greedy_token(std::span<const float> logits);

}  // namespace xinslm
