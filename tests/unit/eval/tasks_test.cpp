#include <gtest/gtest.h>

#include <cmath>

#include "unit/eval/scratch_file.h"
#include "unit/generate/byte_tokenizer.h"
#include "xinslm/eval/perplexity.h"
#include "xinslm/eval/speed.h"
#include "xinslm/eval/task.h"

namespace xinslm {
namespace {

class TasksTest : public ::testing::Test {
 protected:
  double log_probability(const std::string& context, const std::string& continuation) const {
    return scorer.score({scorer.request(context, continuation)})[0].log_probability;
  }

  std::shared_ptr<const Tokenizer> tokenizer = std::make_shared<ByteTokenizer>();
  Transformer model = tiny_model();
  Scorer scorer{model, tokenizer, {}};
};

TEST_F(TasksTest, HellaSwagPicksByTheSumAndPerCharacter) {
  const double shorter = log_probability("A: b C", " d"), longer = log_probability("A: b C", " long one");
  const ScratchFile file(
      R"({"activity_label": "A", "ctx_a": "b", "ctx_b": "c", "endings": ["d", "long one"], "label": 0})");
  const TaskResult result = run_hellaswag(scorer, file.path(), 0);
  ASSERT_EQ(result.metrics.size(), 2u);
  EXPECT_EQ(result.metrics[0].name, "acc");
  EXPECT_EQ(result.metrics[0].value, shorter >= longer ? 1 : 0);
  EXPECT_EQ(result.metrics[1].name, "acc_norm");
  EXPECT_EQ(result.metrics[1].value, shorter / 1 >= longer / 8 ? 1 : 0);
  EXPECT_EQ(result.items, 1);
  EXPECT_EQ(result.file_sha256.size(), 64u);
}

TEST_F(TasksTest, WinoGrandeComparesTheRestOfTheSentence) {
  const bool first = log_probability("a x", " end") >= log_probability("a yy", " end");
  const ScratchFile file(R"({"sentence": "a _ end", "option1": "x", "option2": "yy", "answer": "1"})");
  EXPECT_EQ(run_winogrande(scorer, file.path(), 0).metrics[0].value, first ? 1 : 0);
}

TEST_F(TasksTest, LambadaPerplexityIsThatOfTheLastWord) {
  const ScratchFile file("{\"text\": \"one two\"}\n{\"text\": \"three four five\"}\n");
  const TaskResult result = run_lambada(scorer, file.path(), 0);
  const double loss = -(log_probability("one", " two") + log_probability("three four", " five")) / 2;
  EXPECT_NEAR(result.metrics[1].value, std::exp(loss), 1e-3 * std::exp(loss));
  EXPECT_EQ(result.items, 2);
}

TEST_F(TasksTest, WikiTextRefersToWordsAndBytesBeforeDetokenizing) {
  const std::string page = " = T = \n a , b \n";
  const ScratchFile file(page, "wiki.txt");
  const TaskResult result = run_wikitext(scorer, file.path(), 0);
  const double loss = -log_probability("", " = T =\na, b\n");
  EXPECT_NEAR(result.metrics[2].value, loss / static_cast<double>(page.size()) / std::log(2), 1e-3);
  EXPECT_NEAR(std::log(result.metrics[0].value), loss / 8, 1e-3);  // 6 words and an empty piece at either end
}

TEST_F(TasksTest, PerplexityScoresEveryTokenOfTheFile) {
  const std::string text = "the cat sat\non the mat and stayed there for a long time\n";
  const ScratchFile file(text, "text.txt");
  const PerplexityResult result = measure_perplexity(scorer, file.path(), {});
  EXPECT_EQ(result.tokens, static_cast<int64_t>(text.size()));
  EXPECT_EQ(result.bytes, static_cast<int64_t>(text.size()));
  EXPECT_EQ(result.words, 13);
  EXPECT_NEAR(result.nll_sum, -log_probability("", text), 1e-2);
  EXPECT_NEAR(result.perplexity(), std::exp(result.nll_sum / static_cast<double>(text.size())), 1e-9);
}

TEST_F(TasksTest, LineEndsCanBecomeWords) {
  const ScratchFile file("a b\nc\n", "text.txt");
  const PerplexityResult result = measure_perplexity(scorer, file.path(), {0, " <eos> ", ""});
  EXPECT_EQ(result.words, 5);
  EXPECT_EQ(result.bytes, 6);
  EXPECT_EQ(result.tokens, 4 + 2 * 7);
}

TEST_F(TasksTest, DocumentsAreJoinedByTheEndOfText) {
  const ScratchFile file("one\n<|endoftext|>\ntwo\n", "text.txt");
  EXPECT_EQ(measure_perplexity(scorer, file.path(), {}).tokens, 3 + 1 + 3);
}

TEST_F(TasksTest, PerplexityOfNothingIsAnError) {
  const ScratchFile file("", "text.txt");
  EXPECT_THROW(measure_perplexity(scorer, file.path(), {}), Error);
  EXPECT_THROW(measure_perplexity(scorer, file.path().parent_path() / "xinslm-no-such-file.txt", {}), Error);
}

TEST_F(TasksTest, SpeedGivesOneFigureARepetition) {
  const SpeedResult result = measure_speed(model, {8, 4, {2}, 3, 0, {}}).front();
  EXPECT_EQ(result.prompt.count, 3);
  EXPECT_GT(result.prompt.value, 0);
  EXPECT_GT(result.generate.value, 0);
  EXPECT_EQ(measure_speed(model, {0, 2, {0}, 1, 0, {}}).front().prompt.count, 0);
  EXPECT_THROW(measure_speed(model, {1000, 4, {0}, 3, 0, {}}), Error);
  EXPECT_THROW(measure_speed(model, {0, 0, {0}, 3, 0, {}}), Error);
  EXPECT_THROW(measure_speed(model, {8, 4, {}, 3, 0, {}}), Error);
}

TEST_F(TasksTest, SpeedIsGivenForEveryDepth) {
  const std::vector<SpeedResult> results = measure_speed(model, {0, 2, {0, 5}, 3, 0, {}});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[1].depth, 5);
  EXPECT_EQ(results[1].generate.count, 3);
  EXPECT_GT(results[1].bytes_per_token, results[0].bytes_per_token);
}

}  // namespace
}  // namespace xinslm
