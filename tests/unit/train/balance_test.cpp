#include "xinslm/train/balance.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "unit/generate/byte_tokenizer.h"
#include "xinslm/train/expert_health.h"

namespace xinslm {
namespace {

at::Tensor counts_of(std::vector<double> layer, int64_t layers = 2) {
  return at::tensor(layer, at::kFloat).expand({layers, static_cast<int64_t>(layer.size())}).contiguous();
}

}  // namespace

TEST(LoadBalancingLoss, IsOneWhenBalancedAndTheNumberOfExpertsWhenCollapsed) {
  const at::Tensor even = at::zeros({8, 4});
  EXPECT_NEAR(load_balancing_loss(even, at::full({4}, 2.0)).item<double>(), 1, 1e-6);
  at::Tensor one = at::full({8, 4}, -50.0);
  one.select(1, 2).fill_(50);
  EXPECT_NEAR(load_balancing_loss(one, at::tensor({0, 0, 8, 0}, at::kFloat)).item<double>(), 4, 1e-5);
}

TEST(LoadBalancingLoss, PushesDownTheProbabilityOfBusyExperts) {
  const at::Tensor logits = at::zeros({6, 3}).requires_grad_(true);
  load_balancing_loss(logits, at::tensor({4, 1, 1}, at::kFloat)).backward();
  EXPECT_GT(logits.grad().select(1, 0).min().item<double>(), 0);
  EXPECT_LT(logits.grad().select(1, 1).max().item<double>(), 0);
}

TEST(RouterZLoss, IsTheMeanSquareOfLogSumExp) {
  const at::Tensor logits = at::tensor({0.0, 0.0, 1.0, 1.0}, at::kFloat).view({2, 2});
  const double first = std::log(2), second = 1 + std::log(2);
  EXPECT_NEAR(router_z_loss(logits).item<double>(), (first * first + second * second) / 2, 1e-6);
}

TEST(CountAssignments, CountsEveryChoice) {
  const at::Tensor chosen = at::tensor({0, 2, 2, 1, 2, 0}, at::kLong).view({3, 2});
  EXPECT_TRUE(at::equal(count_assignments(chosen, 4), at::tensor({2, 1, 3, 0}, at::kFloat)));
}

TEST(RouterBias, MovesAgainstTheLoadAndIsGoneAtTheEnd) {
  RouterBias bias(tiny_config(), at::kCPU, 0.01);
  bias.update(counts_of({5, 1, 1, 1}));
  const at::Tensor full = bias.at_share(0.3)->at(0).clone();
  EXPECT_TRUE(at::allclose(full, at::tensor({-0.01, 0.01, 0.01, 0.01}, at::kFloat)));
  EXPECT_TRUE(at::allclose(bias.at_share(0.9)->at(0), full * 0.5));
  EXPECT_TRUE(at::equal(bias.at_share(1)->at(1), at::zeros({4})));
}

TEST(RouterBias, IsAbsentWhenOff) {
  EXPECT_EQ(RouterBias(tiny_config(), at::kCPU, 0).at_share(0), nullptr);
}

TEST(ExpertHealth, ReportsLoadVariationAndEntropyOfTheWindow) {
  ExpertHealth health(tiny_config(), at::kCPU);
  EXPECT_TRUE(health.take().empty());
  health.add(0, counts_of({4, 0, 2, 2}), at::tensor({1.0, 0.5}, at::kFloat));
  health.add(1, counts_of({0, 4, 2, 2}), at::tensor({2.0, 0.5}, at::kFloat));
  const std::vector<LayerHealth> layers = health.take();
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].load, (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
  EXPECT_DOUBLE_EQ(layers[0].variation, 0);
  EXPECT_DOUBLE_EQ(layers[0].router_entropy, 1.5);
  EXPECT_NEAR(layers[0].effective_experts, 4, 1e-9);
  EXPECT_FALSE(layers[0].collapsed);
  EXPECT_TRUE(health.take().empty());
}

TEST(ExpertHealth, CountsExpertsUnusedForAThousandSteps) {
  ExpertHealth health(tiny_config(), at::kCPU);
  const at::Tensor entropy = at::zeros({2});
  health.add(0, counts_of({1, 1, 1, 1}), entropy);
  health.add(999, counts_of({2, 2, 0, 0}), entropy);
  EXPECT_EQ(health.take()[0].unused, 0);
  health.add(1000, counts_of({2, 2, 0, 0}), entropy);
  EXPECT_EQ(health.take()[0].unused, 2);
}

TEST(ExpertHealth, WarnsOnceOfALayerThatCollapses) {
  ExpertHealth health(tiny_config(), at::kCPU);
  health.add(0, counts_of({50, 50, 0, 0}), at::zeros({2}));
  const auto collapsed = health.take();
  EXPECT_TRUE(collapsed[1].collapsed);
  const auto warning = health.warning(collapsed);
  ASSERT_TRUE(warning.has_value());
  EXPECT_NE(warning->find("layer 0"), std::string::npos);
  EXPECT_FALSE(health.warning(collapsed).has_value());
}

TEST(ExpertHealth, GoesOnFromItsState) {
  ExpertHealth first(tiny_config(), at::kCPU), second(tiny_config(), at::kCPU);
  first.add(0, counts_of({1, 1, 1, 1}), at::ones({2}));
  second.restore(StateTensors(first.state(), "state"));
  first.add(1500, counts_of({3, 1, 0, 0}), at::ones({2}));
  second.add(1500, counts_of({3, 1, 0, 0}), at::ones({2}));
  const auto expected = first.take(), found = second.take();
  EXPECT_EQ(found[1].load, expected[1].load);
  EXPECT_EQ(found[1].unused, expected[1].unused);
}

TEST(RouterEntropy, IsTheLogOfTheNumberOfExpertsWhenUndecided) {
  EXPECT_NEAR(router_entropy(at::zeros({5, 4})).item<double>(), std::log(4), 1e-6);
}

}  // namespace xinslm
