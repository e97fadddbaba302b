#include "xinslm/core/random.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace xinslm;

TEST(RandomStream, SameKeySameNumbers) {
  RandomStream a{1, 2, 3}, b{1, 2, 3}, c{1, 2, 4};
  EXPECT_EQ(a(), b());
  EXPECT_NE(a(), c());
}

// What these streams gave when the first runs were made: a run made again from its seed gives the same bits.
TEST(RandomStream, PurposesKeepTheirNumbers) {
  EXPECT_EQ(mix_seed({42, random_for::initial_weights, 3, 1}), 0x28074754121978e5);
  EXPECT_EQ(mix_seed({42, random_for::packed_codes, 3, 1}), 0x9ecc6b8482607c91);
  EXPECT_EQ(mix_seed({random_for::builtin_story, 42, 7}), 0x7d507973aa93909c);
  EXPECT_EQ(mix_seed({random_for::corpus_sample, 7}), 0x7a5585d0301400cd);
  EXPECT_EQ(mix_seed({random_for::document_order, 42, 1}), 0xeba7e40f0e7e73bc);
  EXPECT_EQ(mix_seed({random_for::row_order, 42, 1}), 0x8001b149b16bd581);
  EXPECT_EQ(mix_seed({42, random_for::expert_count, 5}), 0xbeed404812e69600);
  EXPECT_EQ(mix_seed({42, random_for::dropout, 5, 0}), 0xcc239dac92dc87d7);
  EXPECT_EQ(mix_seed({42, random_for::next_token}), 0xfe1ac50158c6530e);
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
