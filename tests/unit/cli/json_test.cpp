#include <gtest/gtest.h>

#include "unit/generate/byte_tokenizer.h"
#include "xinslm/cli/bench_json.h"
#include "xinslm/cli/generation_json.h"

namespace xinslm::cli {
namespace {

TEST(BenchJson, PerplexityHasTheKeysThatScriptsReadAndTheyAgree) {
  PerplexityResult result;
  result.nll_sum = 200;
  result.tokens = 100;
  result.words = 50;
  result.bytes = 250;
  const Json json = perplexity_json(result);
  for (const char* key : {"nll_sum", "tokens", "words", "bytes", "perplexity", "word_perplexity", "bits_per_byte"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_NEAR(json["perplexity"].get<double>(), std::exp(2), 1e-9);
  EXPECT_NEAR(json["word_perplexity"].get<double>(), std::exp(4), 1e-9);
  EXPECT_NEAR(json["bits_per_byte"].get<double>(), 0.8 / std::log(2), 1e-9);
}

TEST(BenchJson, TasksNameProtocolItemsAndData) {
  const TaskResult result{"lambada", "protocol", {{"acc", 0.5, 0.1, true}, {"x", 2, -1, false}}, 7, 1.5,
                          "file",    "hash"};
  const Json json = task_json(result);
  EXPECT_EQ(json["acc"], 0.5);
  EXPECT_EQ(json["acc_stderr"], 0.1);
  EXPECT_FALSE(json.contains("x_stderr"));
  EXPECT_EQ(json["items"], 7);
  EXPECT_EQ(json["sha256"], "hash");
  EXPECT_EQ(json["protocol"], "protocol");
}

TEST(GenerationJson, HasTextIdsProbabilitiesCountsAndSpeeds) {
  GenerateResult result;
  result.tokens = {{'a', -0.5, {{'a', -0.5}, {'b', -1.5}}}, {'b', -1.0, {}}};
  result.text = "ab";
  result.prompt_tokens = 10;
  result.reused_tokens = 4;
  result.prompt_seconds = 2;
  result.generate_seconds = 0.5;
  const Json json = generation_json(result, ByteTokenizer());
  EXPECT_EQ(json["text"], "ab");
  EXPECT_EQ(json["ids"], Json({'a', 'b'}));
  EXPECT_EQ(json["log_probabilities"], Json({-0.5, -1.0}));
  EXPECT_EQ(json["log_probability_sum"], -1.5);
  EXPECT_EQ(json["generated_tokens"], 2);
  EXPECT_EQ(json["prompt_tokens_per_second"], 3.0);
  EXPECT_EQ(json["generate_tokens_per_second"], 4.0);
  EXPECT_EQ(json["alternatives"][0][1]["token"], "b");
}

}  // namespace
}  // namespace xinslm::cli
