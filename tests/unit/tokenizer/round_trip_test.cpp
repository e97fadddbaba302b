#include <gtest/gtest.h>

#include "unit/tokenizer/sample_text.h"
#include "xinslm/core/random.h"
#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

void append_character(uint32_t code, std::string& text) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr int kLead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(kLead[extra] | code >> (6 * extra));
  for (int i = extra - 1; i >= 0; --i) text += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
}

/// Characters of every length, with spaces, newlines and letters often enough to make words.
std::string random_unicode(RandomStream& random) {
  std::string text;
  const size_t length = random.below(60);
  for (size_t i = 0; i < length; ++i) {
    constexpr uint32_t kBounds[] = {0x80, 0x250, 0x800, 0x3100, 0x10000, 0x110000};
    uint32_t code = random.below(3) == 0 ? " \n\t e'"[random.below(6)] : random.below(kBounds[random.below(6)]);
    if (code >= 0xD800 && code < 0xE000) code = 0x2581;
    append_character(code, text);
  }
  return text;
}

std::string random_bytes(RandomStream& random) {
  std::string text;
  const size_t length = random.below(60);
  for (size_t i = 0; i < length; ++i) text += static_cast<char>(random.below(256));
  return text;
}

class RoundTrip : public testing::TestWithParam<TokenizerType> {
 protected:
  static void expect_exact(const Tokenizer& tokenizer, const std::string& text) {
    for (const bool allow_special : {false, true}) {
      const auto ids = tokenizer.encode(text, allow_special);
      ASSERT_EQ(tokenizer.decode(ids, allow_special), text);
    }
    for (const TokenId id : tokenizer.encode(text)) ASSERT_FALSE(tokenizer.is_special(id)) << text;
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ = test::train_on_sample(GetParam(), {"<unk>", "<eos>", "<eos>>"});
};

TEST_P(RoundTrip, TenThousandUnicodeStrings) {
  RandomStream random{1};
  for (int i = 0; i < 10000; ++i) {
    const std::string text = random_unicode(random);
    ASSERT_TRUE(is_valid_utf8(text));
    ASSERT_NO_FATAL_FAILURE(expect_exact(*tokenizer_, text));
  }
}

TEST_P(RoundTrip, TenThousandByteStrings) {
  RandomStream random{2};
  for (int i = 0; i < 10000; ++i) ASSERT_NO_FATAL_FAILURE(expect_exact(*tokenizer_, random_bytes(random)));
}

TEST_P(RoundTrip, TextsThatLookLikeTokensOrSigns) {
  using namespace std::string_literals;
  for (const std::string& text : {
           ""s,
           " "s,
           "   "s,
           "\n"s,
           " \n \n\n"s,
           "\t"s,
           "\0"s,
           "a\0b"s,
           "\r\n"s,
           "\xE2\x96\x81"s,
           "a\xE2\x96\x81"
           "b"s,
           " \xE2\x96\x81 "s,
           "\xE2\x96"s,
           "\xE2"s,
           "\xE2\x96\x85"s,
           "\xEF\xBF\xBD"s,
           "\xEF\xBB\xBFmark"s,
           "\xEF\xBF\xBE"s,
           "\xED\xA0\x80"s,
           "\xC0\x80"s,
           "\xF4\x90\x80\x80"s,
           "<0x41>"s,
           "<0x0A>"s,
           "<unk>"s,
           "<eos>>"s,
           "<eos><eos>"s,
           "<<unk>>"s,
           "<|unknown|>"s,
           "<s>"s,
           "</s>"s,
           "<|start|>user<|message|>hi<|end|>"s,
           "<|endoftext|>"s,
           "<|startoftext|"s,
           "<pad>"s,
           "\xE2<unk>\x96\x81"s,
           "Tim \xE2\x81\x87 "s,
           "  two  spaces  "s,
           "a  \xFF  b"s,
           "\x7F\x01\x1F"s,
           "'s''s ' s"s,
           "\xE2\x80\x99re"s,
       }) {
    ASSERT_NO_FATAL_FAILURE(expect_exact(*tokenizer_, text));
  }
}

TEST_P(RoundTrip, LongTextsWithoutPlacesToCut) {
  for (const std::string unit : {"a", " ", "\n", "=", "7", "\xFF", "\xE4\xB8\xAD", "\xE2\x96\x81", "<unk>"}) {
    std::string text;
    for (int i = 0; i < 100000; ++i) text += unit;
    ASSERT_NO_FATAL_FAILURE(expect_exact(*tokenizer_, text));
  }
}

TEST_P(RoundTrip, IdsDependOnTheTextAlone) {
  const std::string text = test::sample_text(300, 5);
  const auto first = tokenizer_->encode(text);
  EXPECT_EQ(tokenizer_->encode(text), first);                                                       // words remembered
  EXPECT_EQ(test::train_on_sample(GetParam(), {"<unk>", "<eos>", "<eos>>"})->encode(text), first);  // and not
}

INSTANTIATE_TEST_SUITE_P(Types, RoundTrip, testing::Values(TokenizerType::bpe, TokenizerType::unigram),
                         [](const auto& info) { return info.param == TokenizerType::bpe ? "bpe" : "unigram"; });

}  // namespace
}  // namespace xinslm
