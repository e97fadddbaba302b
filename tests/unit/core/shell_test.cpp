#include "xinslm/core/shell.h"

#include <gtest/gtest.h>

namespace xinslm {

TEST(ShellQuoted, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_quoted("runs/a-1.b/model"), "runs/a-1.b/model");
  EXPECT_EQ(shell_quoted("my runs/model"), "'my runs/model'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("$HOME;rm"), "'$HOME;rm'");
  EXPECT_EQ(shell_quoted("~x"), "'~x'");
  EXPECT_EQ(shell_quoted(""), "''");
}

}  // namespace xinslm
