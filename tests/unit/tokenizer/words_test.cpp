#include "tokenizer/words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tokenizer/word_counts.h"

namespace xinslm {
namespace {

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const Word word = first_word(text);
    words.emplace_back(text.substr(0, word.length));
    text.remove_prefix(word.length);
  }
  return words;
}

using Words = std::vector<std::string>;

TEST(Words, SpacesLeadAndApostrophesStartEndings) {
  EXPECT_EQ(words_of("The dog didn't bark."), (Words{"The", " dog", " didn", "'t", " bark", "."}));
  EXPECT_EQ(words_of("a  b"), (Words{"a", "  b"}));
}

TEST(Words, PunctuationTakesItsNewlines) {
  EXPECT_EQ(words_of("end.\n\nNext"), (Words{"end", ".\n\n", "Next"}));
  EXPECT_EQ(words_of(" = Title = \n x"), (Words{" =", " Title", " =", " \n", " x"}));
}

TEST(Words, DigitsStandAlone) {
  EXPECT_EQ(words_of("in 1987"), (Words{"in", " 1", "9", "8", "7"}));
}

TEST(Words, RawBytesAreMarked) {
  for (const char* raw : {"\xFF", "\t", "\xE2\x96\x81", "\xE2\x96\x85", "\xEF\xBF\xBD", "\xEF\xBF\xBE", "\xE4\xB8"}) {
    EXPECT_TRUE(first_word(raw).raw) << raw;
    EXPECT_FALSE(is_one_word(raw)) << raw;
  }
  EXPECT_FALSE(first_word("\xE4\xB8\xAD").raw);
}

TEST(Words, LongWordsAreCutAtCharacters) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "\xE4\xB8\xAD";
  for (const std::string& word : words_of(text)) {
    EXPECT_LE(word.size(), kLongestWord);
    EXPECT_EQ(word.size() % 3, 0u);
  }
}

TEST(WordCounts, CountsWithoutSymbolsAndRawBytes) {
  WordCounts counts({"<unk>"});
  counts.add("a b<unk>b a\tb a");
  const std::vector<std::pair<std::string, int64_t>> expected{{" a", 2}, {"b", 2}, {" b", 1}, {"a", 1}};
  EXPECT_EQ(counts.sorted(), expected);
}

TEST(WordCounts, ForgetsTheRarestBeyondItsCapacity) {
  WordCounts counts({}, 8);
  for (int i = 0; i < 100; ++i) {
    counts.add("often");
    counts.add(std::string(1, 'a' + i % 26) + static_cast<char>('a' + i / 26));
  }
  const auto words = counts.sorted();
  EXPECT_LE(words.size(), 8u);
  EXPECT_EQ(words[0], (std::pair<std::string, int64_t>{"often", 100}));
}

}  // namespace
}  // namespace xinslm
