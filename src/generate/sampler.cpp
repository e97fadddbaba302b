#include "xinslm/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/cpu/row_kernels.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

/// Best first; equals by id, so that the order never depends on the sorting algorithm.
bool better(const Sampler::Candidate& a, const Sampler::Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

bool worse(const Sampler::Candidate& a, const Sampler::Candidate& b) {
  return better(b, a);
}

double total_weight(const std::vector<Sampler::Candidate>& candidates) {
  return std::accumulate(candidates.begin(), candidates.end(), 0.0,
                         [](double sum, const Sampler::Candidate& candidate) { return sum + candidate.weight; });
}

}  // namespace

GenerationSettings SamplingOptions::settings() const {
  GenerationSettings settings;
  settings.temperature = temperature;
  settings.top_k = top_k;
  settings.top_p = top_p;
  settings.min_p = min_p;
  settings.repetition_penalty = repetition_penalty;
  return settings;
}

void SamplingOptions::take(const GenerationSettings& settings) {
  temperature = settings.temperature;
  top_k = settings.top_k;
  top_p = settings.top_p;
  min_p = settings.min_p;
  repetition_penalty = settings.repetition_penalty;
}

void validate(const SamplingOptions& options) {
  validate(options.settings(), "");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_({options.seed, random_for::next_token}) {
  validate(options);
}

std::span<const float> Sampler::penalized(std::span<const float> logits, std::span<const TokenId> history) {
  if (options_.repetition_penalty == 1.0 || history.empty()) return logits;
  scratch_.assign(logits.begin(), logits.end());
  seen_.assign(logits.size(), false);
  const float penalty = static_cast<float>(options_.repetition_penalty);
  for (const TokenId id : history) {
    const auto index = static_cast<size_t>(id);
    if (index >= logits.size() || seen_[index]) continue;
    seen_[index] = true;
    float& logit = scratch_[index];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
  return scratch_;
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k) - 1, candidates_.end(), better);
  candidates_.resize(k);
}

void Sampler::keep_top_p(size_t vocabulary) {
  if (options_.top_p >= 1) return;
  const double total = total_weight(candidates_);
  // All tokens lighter than this together weigh less than what top-p drops, so none of them is among those kept.
  const double negligible = (1 - options_.top_p) * total / static_cast<double>(vocabulary);
  std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.weight < negligible; });
  // A heap gives the best ones in order without sorting the rest.
  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  double sum = 0;
  auto end = candidates_.end();
  while (end != candidates_.begin() && sum < options_.top_p * total) {
    std::pop_heap(candidates_.begin(), end, worse);
    sum += (--end)->weight;
  }
  candidates_.erase(candidates_.begin(), end);
  std::reverse(candidates_.begin(), candidates_.end());
}

void Sampler::keep_min_p() {
  if (options_.min_p <= 0) return;
  // The best token has weight 1 and stays whatever min-p is.
  std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.weight < options_.min_p; });
}

const std::vector<Sampler::Candidate>& Sampler::candidates(std::span<const float> logits,
                                                           std::span<const TokenId> history) {
  const std::span<const float> scores = penalized(logits, history);
  const TokenId best = greedy_token(scores);
  const float highest = scores[static_cast<size_t>(best)];
  candidates_.clear();
  if (options_.temperature == 0) {
    candidates_.push_back({best, highest, 1.0});
    return candidates_;
  }
  candidates_.reserve(scores.size());
  // So large that all but the best have no weight left, yet finite: times the best one's 0 it has to be 0.
  constexpr double largest = std::numeric_limits<float>::max();
  const float inverse = static_cast<float>(std::min(1 / options_.temperature, largest));
  for (size_t id = 0; id < scores.size(); ++id) {
    const float weight = std::exp((scores[id] - highest) * inverse);
    if (weight > 0) candidates_.push_back({static_cast<TokenId>(id), scores[id], weight});
  }
  keep_top_k();
  keep_top_p(scores.size());
  keep_min_p();
  return candidates_;
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  if (candidates(logits, history).size() == 1) return candidates_.front().id;
  double left = random_.uniform() * total_weight(candidates_);
  for (const Candidate& candidate : candidates_) {
    left -= candidate.weight;
    if (left < 0) return candidate.id;
  }
  return candidates_.back().id;  // rounding left a crumb
}

TokenId greedy_token(std::span<const float> logits) {
  if (logits.empty()) usage_error("no logits to choose a token from");
  const int64_t best = row_kernels().largest(logits.data(), static_cast<int64_t>(logits.size()));
  if (!std::isfinite(logits[static_cast<size_t>(best)])) {
    runtime_failure("the model gave no finite logit; its weights are damaged or its training diverged");
  }
  return static_cast<TokenId>(best);
}

std::vector<std::pair<TokenId, double>> best_tokens(std::span<const float> logits, double log_normalizer, int64_t n) {
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), TokenId{0});
  const auto count = std::min<ptrdiff_t>(n, static_cast<ptrdiff_t>(ids.size()));
  const auto order = [&](TokenId a, TokenId b) {
    const float logit_a = logits[static_cast<size_t>(a)], logit_b = logits[static_cast<size_t>(b)];
    return logit_a != logit_b ? logit_a > logit_b : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), order);
  std::vector<std::pair<TokenId, double>> best;
  for (ptrdiff_t i = 0; i < count; ++i) {
    best.emplace_back(ids[static_cast<size_t>(i)],
                      logits[static_cast<size_t>(ids[static_cast<size_t>(i)])] - log_normalizer);
  }
  return best;
}

}  // namespace xinslm
