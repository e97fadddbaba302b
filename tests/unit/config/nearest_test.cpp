#include "config/nearest.h"

#include <gtest/gtest.h>

namespace xinslm {
namespace {

TEST(Nearest, CountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("seed", "sede"), 1u);
  EXPECT_EQ(edit_distance("same", "same"), 0u);
}

TEST(Nearest, KeepsQuietWhenNothingIsNear) {
  EXPECT_EQ(nearest("sed", {"seed", "speed"}), "seed");
  EXPECT_EQ(nearest("banana", {"seed", "speed"}), "");
  EXPECT_EQ(nearest(std::string(1000, 'x'), {std::string(1000, 'x')}), "");
}

TEST(Nearest, EnumeratesAsInASentence) {
  EXPECT_EQ(enumerate({}), "");
  EXPECT_EQ(enumerate({"a"}), "a");
  EXPECT_EQ(enumerate({"a", "b"}), "a or b");
  EXPECT_EQ(enumerate({"a", "b", "c"}, " and "), "a, b and c");
}

}  // namespace
}  // namespace xinslm
