#include "xinslm/generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

SamplingOptions plain(double temperature = 1.0) {
  SamplingOptions options;
  options.temperature = temperature;
  options.top_p = 1.0;
  return options;
}

std::vector<float> random_logits(size_t count, uint64_t seed) {
  RandomStream random({seed});
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(3 * random.normal());
  return logits;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> shares;
  for (const float logit : logits) shares.push_back(std::exp((logit - highest) / temperature));
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= total;
  return shares;
}

std::set<TokenId> kept(const SamplingOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options);
  std::set<TokenId> ids;
  for (const Sampler::Candidate& candidate : sampler.candidates(logits, {})) ids.insert(candidate.id);
  return ids;
}

TEST(Sampler, GreedyTakesTheBestAndTheFirstOfEquals) {
  Sampler sampler(plain(0));
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 2}, {}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{4, 5, 5}, {}), 1);
}

TEST(Sampler, FrequenciesFollowTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0, 1, 2, -1, 0.5};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    Sampler sampler(plain(temperature));
    std::vector<double> counts(logits.size());
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i) ++counts[static_cast<size_t>(sampler.sample(logits, {}))];
    const std::vector<double> expected = softmax(logits, temperature);
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(counts[i] / draws, expected[i], 0.015) << temperature << " " << i;
  }
}

TEST(Sampler, TopKKeepsTheKBest) {
  SamplingOptions options = plain();
  options.top_k = 2;
  EXPECT_EQ(kept(options, {1, 4, 3, 4, 0}), (std::set<TokenId>{1, 3}));
  options.top_k = 9;
  EXPECT_EQ(kept(options, {1, 4, 3}).size(), 3u);
}

TEST(Sampler, TopPKeepsWhatAFullSortKeeps) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> logits = random_logits(500, seed);
    const std::vector<double> shares = softmax(logits, 0.7);
    for (const double p : {0.05, 0.5, 0.9, 0.999}) {
      SamplingOptions options = plain(0.7);
      options.top_p = p;
      std::vector<TokenId> order(logits.size());
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return shares[a] > shares[b]; });
      std::set<TokenId> expected;
      double sum = 0;
      for (size_t i = 0; i < order.size() && sum < p; ++i) {
        expected.insert(order[i]);
        sum += shares[static_cast<size_t>(order[i])];
      }
      EXPECT_EQ(kept(options, logits), expected) << "seed " << seed << ", p " << p;
    }
  }
}

TEST(Sampler, TopPAlwaysKeepsTheBest) {
  SamplingOptions options = plain();
  options.top_p = 1e-9;
  EXPECT_EQ(kept(options, {1, 2, 3}), (std::set<TokenId>{2}));
}

TEST(Sampler, MinPDropsTokensFarBelowTheBest) {
  SamplingOptions options = plain();
  options.min_p = 0.3;
  const float tenth = std::log(0.1f), half = std::log(0.5f);
  EXPECT_EQ(kept(options, {0, half, tenth}), (std::set<TokenId>{0, 1}));
  options.min_p = 1;
  EXPECT_EQ(kept(options, {0, half, tenth}), (std::set<TokenId>{0}));
}

TEST(Sampler, SameSeedSameTokensOtherSeedOthers) {
  const std::vector<float> logits = random_logits(100, 1);
  const auto draw = [&](uint64_t seed) {
    SamplingOptions options = plain(2);
    options.seed = seed;
    Sampler sampler(options);
    std::vector<TokenId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.sample(logits, {}));
    return ids;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(Sampler, RepetitionPenaltyMakesSeenTokensRarerOnceEach) {
  SamplingOptions options = plain(0);
  options.repetition_penalty = 2;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2, 1}, std::vector<TokenId>{0}), 1);        // 1.5 against 2
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 1, 1}, std::vector<TokenId>{0, 0, 0}), 0);  // 1.5 and not 0.375
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, -1.5f}, std::vector<TokenId>{0}), 1);      // -2 against -1.5
}

TEST(Sampler, RejectsOptionsOutOfRange) {
  const auto with = [](auto change) {
    SamplingOptions options;
    change(options);
    return options;
  };
  EXPECT_THROW(Sampler(with([](auto& o) { o.temperature = -1; })), Error);
  EXPECT_THROW(Sampler(with([](auto& o) { o.temperature = std::nan(""); })), Error);
  EXPECT_THROW(Sampler(with([](auto& o) { o.top_k = -1; })), Error);
  EXPECT_THROW(Sampler(with([](auto& o) { o.top_p = 0; })), Error);
  EXPECT_THROW(Sampler(with([](auto& o) { o.min_p = 1.5; })), Error);
  EXPECT_THROW(Sampler(with([](auto& o) { o.repetition_penalty = 0; })), Error);
}

TEST(Sampler, LogitsThatAreNotFiniteAreAnError) {
  Sampler sampler(plain());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(sampler.sample(std::vector<float>{nan, nan}, {}), Error);
}

TEST(BestTokens, ComeInOrderWithLogProbabilities) {
  const std::vector<float> logits = {1, 3, 2, 3};
  const double normalizer = std::log(2 * std::exp(3) + std::exp(2) + std::exp(1));
  const auto best = best_tokens(logits, normalizer, 3);
  ASSERT_EQ(best.size(), 3u);
  EXPECT_EQ(best[0].first, 1);
  EXPECT_EQ(best[1].first, 3);
  EXPECT_EQ(best[2].first, 2);
  EXPECT_NEAR(best[2].second, 2 - normalizer, 1e-9);
}

}  // namespace
}  // namespace xinslm
