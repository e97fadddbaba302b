#include "xinslm/core/size.h"

#include <gtest/gtest.h>

namespace xinslm {

TEST(Size, StaysAtTheLargestInsteadOfOverflowing) {
  EXPECT_EQ((Size(3) * 4 + 5).count(), 17);
  EXPECT_EQ((Size(Size::largest) + 1).count(), Size::largest);
  EXPECT_EQ((Size(int64_t{1} << 40) * (int64_t{1} << 40)).count(), Size::largest);
}

TEST(Size, ExactProductsThatDoNotFitAreRefused) {
  EXPECT_EQ(exact_product("it", 3, 4), 12);
  EXPECT_THROW(exact_product("it", Size::largest, 2), Error);
}

}  // namespace xinslm
