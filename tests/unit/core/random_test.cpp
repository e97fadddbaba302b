#include "xinslm/core/random.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace xinslm;

TEST(RandomStream, SameKeySameNumbers) {
  RandomStream a{1, 2, 3}, b{1, 2, 3}, c{1, 2, 4};
  EXPECT_EQ(a(), b());
  EXPECT_NE(a(), c());
}

TEST(RandomStream, BelowIsUniform) {
  RandomStream stream{7};
  int counts[5] = {};
  for (int i = 0; i < 50000; ++i) ++counts[stream.below(5)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 400);
}

TEST(RandomStream, NormalHasUnitVariance) {
  RandomStream stream{7};
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / n, 0.0, 0.02);
  EXPECT_NEAR(squares / n, 1.0, 0.02);
}
