#include "xinslm/tokenizer/train_tokenizer.h"

#include <gtest/gtest.h>

#include <charconv>

#include "unit/tokenizer/sample_text.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

std::string error_of(const TokenizerTrainingOptions& options, const std::string& text, ErrorKind kind) {
  try {
    train_tokenizer(options, test::source_of(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TokenizerTrainingOptions with_size(int64_t size, TokenizerType type = TokenizerType::bpe) {
  TokenizerTrainingOptions options;
  options.vocab_size = size;
  options.type = type;
  return options;
}

int64_t number_after(const std::string& text, const std::string& phrase) {
  const size_t place = text.find(phrase);
  if (place == std::string::npos) return -1;
  return std::stoll(text.substr(place + phrase.size()));
}

class TrainTokenizer : public testing::TestWithParam<TokenizerType> {};

TEST_P(TrainTokenizer, IsDeterministic) {
  EXPECT_EQ(test::train_on_sample(GetParam())->fingerprint(), test::train_on_sample(GetParam())->fingerprint());
}

TEST_P(TrainTokenizer, GivesTheSizeAskedForAndLearnsFrequentWords) {
  const auto tokenizer = test::train_on_sample(GetParam());
  EXPECT_EQ(tokenizer->vocab_size(), 480);
  EXPECT_EQ(tokenizer->encode(" walked").size(), 1u);
  EXPECT_EQ(tokenizer->encode(".\n\n").size(), 1u);
  const std::string text = test::sample_text(100, 8);
  EXPECT_LT(tokenizer->encode(text).size() * 3, text.size());
}

TEST_P(TrainTokenizer, DigitsStandAlone) {
  const auto tokenizer = test::train_on_sample(GetParam());
  EXPECT_EQ(tokenizer->encode("1987").size(), 4u);
}

TEST_P(TrainTokenizer, NamesTheLargestPossibleSizeAndItWorks) {
  const std::string text = "one two three four five six, one two three.";
  const std::string message = error_of(with_size(5000, GetParam()), text, ErrorKind::usage);
  const int64_t largest = number_after(message, "the largest possible is ");
  ASSERT_GT(largest, 266) << message;
  EXPECT_EQ(train_tokenizer(with_size(largest, GetParam()), test::source_of(text))->vocab_size(), largest);
}

TEST_P(TrainTokenizer, NamesTheSmallestPossibleSizeAndItWorks) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ ";
  const std::string message = error_of(with_size(280, GetParam()), text, ErrorKind::usage);
  const int64_t smallest = number_after(message, "alone take ");
  ASSERT_GT(smallest, 280) << message;
  EXPECT_EQ(train_tokenizer(with_size(smallest, GetParam()), test::source_of(text))->vocab_size(), smallest);
}

TEST_P(TrainTokenizer, TinyAndOddTextsGiveATokenizerOrAnError) {
  for (const std::string text :
       {"a", "aa", " ", "\n", "a b", "7", "\xE4\xB8\xAD", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    for (const int64_t size : {267, 268, 269, 270, 280, 1000}) {
      try {
        const auto tokenizer = train_tokenizer(with_size(size, GetParam()), test::source_of(text));
        EXPECT_EQ(tokenizer->vocab_size(), size);
        EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
      }
    }
  }
}

TEST_P(TrainTokenizer, TextThatIsNotUtf8Trains) {
  const std::string text =
      test::sample_text(2000) + std::string("\xFF\xFE\0\t\xE2\x96\x81\xE2\x96\x85\xEF\xBF\xBD", 13);
  const auto tokenizer = train_tokenizer(with_size(480, GetParam()), test::source_of(text));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

INSTANTIATE_TEST_SUITE_P(Types, TrainTokenizer, testing::Values(TokenizerType::bpe, TokenizerType::unigram),
                         [](const auto& info) { return info.param == TokenizerType::bpe ? "bpe" : "unigram"; });

TEST(TrainTokenizerOptions, UserSymbolsAreOneTokenAnywhere) {
  const auto tokenizer = test::train_on_sample(TokenizerType::bpe, {"<unk>", "<eos>", "a,\"b", "two words"});
  for (const std::string symbol : {"<unk>", "<eos>", "a,\"b", "two words"}) {
    const auto ids = tokenizer->encode("Tim" + symbol + symbol + ".");
    ASSERT_EQ(ids.size(), 4u) << symbol;
    EXPECT_EQ(ids[1], ids[2]);
    EXPECT_EQ(tokenizer->token_bytes(ids[1]), symbol);
    EXPECT_FALSE(tokenizer->is_special(ids[1]));
  }
}

TEST(TrainTokenizerOptions, RejectsSymbolsThatCannotBeUsed) {
  const auto message = [](std::vector<std::string> symbols) {
    TokenizerTrainingOptions options;
    options.user_symbols = std::move(symbols);
    return error_of(options, "text", ErrorKind::usage);
  };
  EXPECT_NE(message({""}).find("empty"), std::string::npos);
  EXPECT_NE(message({"x", "x"}).find("given twice"), std::string::npos);
  EXPECT_NE(message({"\xFF"}).find("not valid UTF-8"), std::string::npos);
  EXPECT_NE(message({"<|end|>"}).find("every vocabulary has"), std::string::npos);
  EXPECT_NE(message({"<0x41>"}).find("every vocabulary has"), std::string::npos);
  EXPECT_NE(message({"a\xE2\x96\x81"}).find("U+2581"), std::string::npos);
}

TEST(TrainTokenizerOptions, RejectsEmptyTextAndImpossibleSizes) {
  EXPECT_NE(error_of(with_size(500), "", ErrorKind::data).find("empty"), std::string::npos);
  EXPECT_NE(error_of(with_size(500), "\xFF\t", ErrorKind::data).find("empty"), std::string::npos);
  EXPECT_NE(error_of(with_size(100), "text", ErrorKind::usage).find("too small"), std::string::npos);
  EXPECT_NE(error_of(with_size(-1), "text", ErrorKind::usage).find("too small"), std::string::npos);
  EXPECT_NE(error_of(with_size(int64_t{1} << 40), "text", ErrorKind::usage).find("too large"), std::string::npos);
  EXPECT_THROW(parse_tokenizer_type("word"), Error);
}

TEST(TrainTokenizerOptions, CutsBetweenStretchesDoNotMatterAtWords) {
  const std::string text = test::sample_text(2000);
  const size_t middle = text.find(' ', text.size() / 2);
  int calls = 0;
  const TextSource halves = [&]() -> std::optional<std::string_view> {
    const std::string_view whole = text;
    ++calls;
    if (calls > 2) return std::nullopt;
    return calls == 1 ? whole.substr(0, middle) : whole.substr(middle);
  };
  const auto tokenizer = train_tokenizer(with_size(480), halves);
  EXPECT_EQ(tokenizer->fingerprint(), test::sample_tokenizer()->fingerprint());
}

}  // namespace
}  // namespace xinslm
