#include "xinslm/cli/render.h"

#include <gtest/gtest.h>

#include <limits>

namespace xinslm::cli {
namespace {

TEST(Render, ColumnsLineUp) {
  Table table({"name", "value"});
  table.add({"a", "1.5"});
  table.add({"longer", "± 10.25"});
  const std::string text = table.text();
  EXPECT_NE(text.find("a           1.5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("longer  ± 10.25\n"), std::string::npos) << text;
}

TEST(Render, NumbersReadWell) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(fixed(1.005, 1), "1.0");
  EXPECT_EQ(fixed(std::numeric_limits<double>::infinity(), 2), "inf");
}

}  // namespace
}  // namespace xinslm::cli
