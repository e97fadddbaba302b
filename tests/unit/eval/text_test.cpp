#include "xinslm/eval/text.h"

#include <gtest/gtest.h>

namespace xinslm {
namespace {

TEST(Text, TrimKnowsUnicodeBlanks) {
  EXPECT_EQ(trim(" \t\u00a0a b\u2003\n"), "a b");
  EXPECT_EQ(trim_end(" a \u3000"), " a");
  EXPECT_EQ(trim("   "), "");
  EXPECT_EQ(trim_end("a\xff"), "a\xff");
}

TEST(Text, ReplaceAllDoesNotLookAtWhatItPutIn) {
  EXPECT_EQ(replace_all("   ", "  ", " "), "  ");
  EXPECT_EQ(replace_all("aXbX", "X", "XX"), "aXXbXX");
}

TEST(Text, CapitalizeLowersTheRest) {
  EXPECT_EQ(capitalize("the USA"), "The usa");
  EXPECT_EQ(capitalize("\u00e9T\u00c9"), "\u00c9t\u00e9");
  EXPECT_EQ(capitalize(""), "");
}

TEST(Text, CountsCharactersWordsAndPieces) {
  EXPECT_EQ(count_characters("a\u00e9\u4e2d\xff"), 4);
  EXPECT_EQ(count_words("  a bc\n\nd "), 3);
  EXPECT_EQ(count_pieces("a b"), 2);
  EXPECT_EQ(count_pieces(" a  b\n"), 4);  // re.split gives an empty piece at either end
  EXPECT_EQ(count_pieces(""), 1);
}

TEST(Text, TightenDropsBlanksInsidePairs) {
  EXPECT_EQ(tighten("x ( a b ) y ( c", '(', ')'), "x (a b) y ( c");
  EXPECT_EQ(tighten("\" a \" and \" b \"", '"', '"'), "\"a\" and \"b\"");
  EXPECT_EQ(tighten("(  )", '(', ')'), "()");
}

}  // namespace
}  // namespace xinslm
