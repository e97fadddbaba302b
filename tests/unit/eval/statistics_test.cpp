#include "xinslm/eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace xinslm {
namespace {

TEST(Estimate, ErrorOfAShareIsThatOfTheHarness) {
  const std::vector<double> right = {1, 0, 1, 1, 0, 1, 1, 0, 1, 1};
  const Estimate share = estimate(right);
  EXPECT_DOUBLE_EQ(share.value, 0.7);
  EXPECT_NEAR(share.standard_error, std::sqrt(0.7 * 0.3 / 9), 1e-12);
  EXPECT_EQ(share.count, 10);
}

TEST(Estimate, KnowsNoErrorOfOneItem) {
  const Estimate one = estimate(std::vector<double>{3});
  EXPECT_EQ(one.value, 3);
  EXPECT_EQ(one.standard_error, 0);
  EXPECT_EQ(estimate({}).count, 0);
}

}  // namespace
}  // namespace xinslm
