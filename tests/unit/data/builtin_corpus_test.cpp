#include "xinslm/data/builtin_corpus.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <sstream>

#include "data/grammar.h"
#include "data_test.h"

using namespace xinslm;

namespace {

constexpr const char* kSmall = R"(
table person  name he
  3 Ann she
  1 Bob he
rule start
  1 <a=person>[a.name] met <b=person!a>[b.name]. {mood.[a.he]}
rule mood.she
  1 [^a.he] (3:sang|1:hummed).
rule mood.he
  1 [^a.he] slept.
)";

TEST(Grammar, ProbabilityOfATextIsTheProductOfItsChoices) {
  const Grammar grammar(kSmall);
  EXPECT_NEAR(grammar.parse("Ann met Bob. She hummed.").log_probability, std::log(0.75 * 0.25), 1e-12);
  EXPECT_NEAR(grammar.parse("Bob met Ann. He slept.").log_probability, std::log(0.25), 1e-12);
  EXPECT_EQ(grammar.parse("Bob met Ann. She sang.").derivations, 0);
  EXPECT_EQ(grammar.parse("Ann met Bob. She sang. ").derivations, 0);
}

TEST(Grammar, EntropyAndLengthAreThoseOfTheListOfTexts) {
  const Grammar grammar(kSmall);
  double entropy = 0, bytes = 0, total = 0;
  for (const std::string text : {"Ann met Bob. She sang.", "Ann met Bob. She hummed.", "Bob met Ann. He slept."}) {
    const double p = std::exp(grammar.parse(text).log_probability);
    total += p;
    entropy -= p * std::log(p);
    bytes += p * static_cast<double>(text.size());
  }
  EXPECT_NEAR(total, 1.0, 1e-12);
  EXPECT_NEAR(grammar.entropy(), entropy, 1e-12);
  EXPECT_NEAR(grammar.expected_bytes(), bytes, 1e-12);
}

TEST(Grammar, DerivationsOfOneTextAreAddedUp) {
  const Grammar grammar("rule start\n  1 (1:a|1:ab)(1:bc|1:c)\n");
  const auto parse = grammar.parse("abc");
  EXPECT_EQ(parse.derivations, 2);
  EXPECT_NEAR(parse.log_probability, std::log(0.5), 1e-12);
}

TEST(Grammar, MistakesAreErrors) {
  for (const char* notation : {"rule start\n  1 {missing}\n", "rule start\n  1 {start}\n", "rule start\n  1 (a|b\n",
                               "rule start\n  1 [x.name]\n", "rule start\n  no weight\n", "rule other\n  1 a\n",
                               "table t  a b\n  1 x\nrule start\n  1 a\n", "rule start\n  1 <x=nothing>[x.name]\n"}) {
    expect_error(ErrorKind::runtime, {"grammar"}, [&] { Grammar{notation}; });
  }
}

TEST(BuiltinCorpus, SameSeedAndNumberSameStory) {
  EXPECT_EQ(builtin_story(1, 5).text, builtin_story(1, 5).text);
  EXPECT_NE(builtin_story(1, 5).text, builtin_story(1, 6).text);
  EXPECT_NE(builtin_story(1, 5).text, builtin_story(2, 5).text);
}

TEST(BuiltinCorpus, EveryStoryHasOneDerivationSoItsProbabilityIsExact) {
  for (int i = 0; i < 1500; ++i) {
    const Story story = builtin_story(3, i);
    ASSERT_NEAR(text_nats(story.text), story.nats, 1e-9) << story.text;
  }
}

TEST(BuiltinCorpus, EntropyByRecursionAgreesWithSampling) {
  constexpr int n = 10000;
  double nats = 0, squares = 0, bytes = 0, byte_squares = 0;
  for (int i = 0; i < n; ++i) {
    const Story story = builtin_story(4, i);
    const auto size = static_cast<double>(story.text.size());
    nats += story.nats, squares += story.nats * story.nats;
    bytes += size, byte_squares += size * size;
  }
  const double error = std::sqrt((squares / n - nats / n * nats / n) / n);
  const double byte_error = std::sqrt((byte_squares / n - bytes / n * bytes / n) / n);
  EXPECT_NEAR(builtin_entropy().nats, nats / n, 4 * error);
  EXPECT_NEAR(builtin_entropy().bytes, bytes / n, 4 * byte_error);
}

TEST(BuiltinCorpus, StoriesAreCleanAndVaried) {
  std::set<std::string> stories, words;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = builtin_story(5, i).text;
    stories.insert(text);
    EXPECT_EQ(text.find_first_of("[]{}<>|_\\"), std::string::npos) << text;
    EXPECT_EQ(text.find("  "), std::string::npos) << text;
    EXPECT_EQ(text.find(" \n"), std::string::npos) << text;
    EXPECT_EQ(text.find(" a a"), std::string::npos) << text;
    EXPECT_EQ(text.back(), '.');
    std::istringstream in(text);
    for (std::string word; in >> word;) words.insert(word);
  }
  EXPECT_EQ(stories.size(), 2000u);
  EXPECT_GT(words.size(), 500u);
}

TEST(BuiltinCorpus, OtherTextIsRefused) {
  expect_error(ErrorKind::data, {"cannot write"}, [] { text_nats("Once upon a time."); });
  expect_error(ErrorKind::data, {"cannot write"}, [] { text_nats(builtin_story(1, 1).text + " "); });
}

}  // namespace
