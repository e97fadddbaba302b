#include "xinslm/ops/rotary.h"

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

Operator with_table(at::Tensor (*op)(const at::Tensor&, const at::Tensor&, const at::Tensor&), int64_t width,
                    int64_t tokens) {
  const auto table = rotary_table({}, width, 3, tokens, at::kCPU);
  return [=](const Tensors& t) { return op(t[0], table.first, table.second); };
}

}  // namespace

TEST(Rotary, MatchesReferenceOnOddSizes) {
  expect_matches(with_table(rotary, 64, 9), with_table(rotary_ref, 64, 9), {normal({2, 3, 9, 64}, 1)});
  expect_matches(with_table(rotary, 22, 31), with_table(rotary_ref, 22, 31), {normal({1, 5, 31, 22}, 1)});
}

TEST(Rotary, GradientMatchesFiniteDifferences) {
  expect_gradient_is_difference(with_table(rotary, 6, 4), {normal({1, 2, 4, 6}, 1)});
}

TEST(Rotary, TakesViewsWithAnyStrides) {
  const auto [cos, sin] = rotary_table({}, 16, 0, 10, at::kCPU);
  const at::Tensor joint = normal({2, 10, 96}, 1);  // queries of a joint projection
  const at::Tensor view = joint.narrow(2, 0, 64).view({2, 10, 4, 16}).transpose(1, 2);
  EXPECT_LE(distance(rotary(view, cos, sin), rotary_ref(view, cos, sin)), 1e-6);
}

TEST(RotaryTable, PlainFrequenciesAreThoseOfThePaper) {
  RopeSettings rope;
  rope.type = "default";
  rope.theta = 10000;
  const auto [cos, sin] = rotary_table(rope, 8, 5, 2, at::kCPU);
  for (int64_t i = 0; i < 4; ++i) {
    const double angle = 6 * std::pow(10000.0, -2.0 * static_cast<double>(i) / 8);
    EXPECT_NEAR(cos[1][i].item<double>(), std::cos(angle), 1e-6);
    EXPECT_NEAR(sin[1][i].item<double>(), std::sin(angle), 1e-6);
  }
}

// gpt-oss: dimensions below 8.09 keep their frequency, those above 17.40 turn 32 times slower; attention factor 1.3466.
TEST(RotaryTable, YarnKeepsFastAndStretchesSlowDimensions) {
  const auto [cos, sin] = rotary_table({}, 64, 1, 1, at::kCPU);
  const double factor = 0.1 * std::log(32.0) + 1;
  EXPECT_NEAR(factor, 1.346574, 1e-6);
  for (const int64_t i : {0, 5, 8, 18, 31}) {
    const double slower = i >= 18 ? 32 : 1;
    const double angle = std::pow(150000.0, -2.0 * static_cast<double>(i) / 64) / slower;
    EXPECT_NEAR(sin[0][i].item<double>(), factor * std::sin(angle), 1e-6) << i;
    EXPECT_NEAR(cos[0][i].item<double>(), factor * std::cos(angle), 1e-6) << i;
  }
  const double between = std::pow(150000.0, -2.0 * 12 / 64);
  EXPECT_LT(sin[0][12].item<double>(), factor * std::sin(between));
  EXPECT_GT(sin[0][12].item<double>(), factor * std::sin(between / 32));
}

TEST(RotaryTable, TruncationRoundsTheRangeOutwards) {
  RopeSettings rope;
  rope.truncate = true;
  const auto [cos, sin] = rotary_table(rope, 64, 1, 1, at::kCPU);
  const double factor = 0.1 * std::log(32.0) + 1, frequency = std::pow(150000.0, -2.0 * 10 / 64);
  const double stretched = (10.0 - 8) / (18 - 8);
  EXPECT_NEAR(sin[0][10].item<double>(), factor * std::sin(frequency * (stretched / 32 + 1 - stretched)), 1e-6);
}

TEST(Rotary, RejectsTablesOfOtherSizes) {
  const auto table = rotary_table({}, 16, 0, 4, at::kCPU);
  expect_usage_error([&] { rotary(normal({1, 1, 5, 16}, 1), table.first, table.second); }, "expected [5, 8]");
}
