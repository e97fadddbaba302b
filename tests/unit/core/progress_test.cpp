#include "xinslm/core/progress.h"

#include <gtest/gtest.h>

#include <limits>

namespace xinslm {

TEST(DurationText, ReadsLikeAClock) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(60), "1:00");
  EXPECT_EQ(duration_text(725), "12:05");
  EXPECT_EQ(duration_text(3600 * 3 + 7 * 60), "3:07:00");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(ProgressLine, OutsideATerminalWritesPlainLinesNowAndThen) {
  ::testing::internal::CaptureStderr();
  {
    ProgressLine line(3600);
    line.update(0.5, [] { return std::string("first"); });
    line.update(0.6, [] { return std::string("too soon"); });
    line.clear();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "[==========          ]  50% first\n");
}

TEST(ProgressLine, HasNoBarWhenTheEndIsUnknown) {
  ::testing::internal::CaptureStderr();
  ProgressLine(0).update(-1, [] { return std::string("reading"); });
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "reading\n");
}

}  // namespace xinslm
