#include "xinslm/eval/scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "unit/generate/byte_tokenizer.h"

namespace xinslm {
namespace {

/// One forward pass a request, nothing shared, nothing padded.
Score by_hand(const Transformer& model, const ScoreRequest& request) {
  const at::NoGradGuard no_gradients;
  std::vector<int64_t> ids(request.context.begin(), request.context.end());
  ids.insert(ids.end(), request.continuation.begin(), request.continuation.end());
  const at::Tensor tokens = at::tensor(ids, at::kLong).unsqueeze(0);
  const at::Tensor all = model.logits(model.hidden_states(tokens)).squeeze(0).log_softmax(-1);
  Score score{0, true};
  for (size_t i = request.context.size(); i < ids.size(); ++i) {
    const at::Tensor here = all[static_cast<int64_t>(i) - 1];
    score.log_probability += here[ids[i]].item<double>();
    score.greedy = score.greedy && here.argmax().item<int64_t>() == ids[i];
  }
  return score;
}

class ScorerTest : public ::testing::Test {
 protected:
  Scorer scorer(int64_t max_length = 0, int64_t batch_tokens = 4096) const {
    return {model, tokenizer, {0, max_length, batch_tokens}};
  }
  ScoreRequest request(const std::string& context, const std::string& continuation) const {
    return {tokenizer->encode(context), tokenizer->encode(continuation)};
  }

  std::shared_ptr<const Tokenizer> tokenizer = std::make_shared<ByteTokenizer>();
  Transformer model = tiny_model();
};

TEST_F(ScorerTest, EqualsOneForwardPassARequestAtAnyBatchSize) {
  const std::vector<ScoreRequest> requests = {request("a", "b"),
                                              request("some context", " end"),
                                              request("some context", "s"),
                                              request("some context", " ending"),
                                              request("other", "x"),
                                              request("longer than the window", " is")};
  for (const int64_t batch_tokens : {1, 40, 4096}) {
    const std::vector<Score> scores = scorer(0, batch_tokens).score(requests);
    ASSERT_EQ(scores.size(), requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      const Score expected = by_hand(model, requests[i]);
      EXPECT_NEAR(scores[i].log_probability, expected.log_probability, 1e-3) << i << " at " << batch_tokens;
      EXPECT_EQ(scores[i].greedy, expected.greedy) << i;
    }
  }
}

TEST_F(ScorerTest, SharedContextsGiveTheSameScores) {
  std::vector<ScoreRequest> requests;
  for (const char* context : {"the man went to", "a woman lives in", "over the window"}) {
    for (const size_t length : {60, 45, 1}) requests.push_back(request(context, std::string(length, 'x') + context[2]));
  }
  const std::vector<Score> scores = scorer(0, 64).score(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_NEAR(scores[i].log_probability, by_hand(model, requests[i]).log_probability, 1e-2) << i;
  }
}

TEST_F(ScorerTest, GreedyIsTrueForWhatTheModelWouldSay) {
  ScoreRequest said = request("abc", "x");
  const at::Tensor tokens = at::tensor(std::vector<int64_t>{'a', 'b', 'c'}, at::kLong).unsqueeze(0);
  const at::NoGradGuard no_gradients;
  said.continuation = {
      static_cast<TokenId>(model.logits(model.hidden_states(tokens)).select(1, 2).argmax().item<int64_t>())};
  EXPECT_TRUE(scorer().score({said})[0].greedy);
}

TEST_F(ScorerTest, ALongContextLosesItsBeginning) {
  const Score whole = scorer(10).score({request("0123456789", "ab")})[0];
  const Score end = scorer().score({request("123456789", "ab")})[0];  // 9 + 2 - 1 = 10 tokens are fed
  EXPECT_NEAR(whole.log_probability, end.log_probability, 1e-4);
  EXPECT_THROW(scorer(3).score({request("a", "bcde")}), Error);
}

TEST_F(ScorerTest, BlanksAtTheEndOfTheContextMoveToTheContinuation) {
  const ScoreRequest split = scorer().request("one two  ", " three");
  EXPECT_EQ(tokenizer->decode(split.context), "one two");
  EXPECT_EQ(tokenizer->decode(split.continuation), "   three");
}

TEST_F(ScorerTest, AnEmptyContextBecomesTheEndOfText) {
  const ScoreRequest split = scorer().request("", "text");
  EXPECT_EQ(split.context, std::vector<TokenId>{tokenizer->end_of_text()});
  EXPECT_THROW(scorer().request("context", ""), Error);
}

TEST(RollingWindows, AreThoseOfTheHarness) {
  const std::vector<TokenId> tokens = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto windows = rolling_windows(tokens, 99, 3, 3);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].context, std::vector<TokenId>{99});
  EXPECT_EQ(windows[0].continuation, (std::vector<TokenId>{0, 1, 2}));
  EXPECT_EQ(windows[1].context, std::vector<TokenId>{2});
  EXPECT_EQ(windows[1].continuation, (std::vector<TokenId>{3, 4, 5}));
  EXPECT_EQ(windows[2].context, (std::vector<TokenId>{4, 5}));  // the last one reaches back
  EXPECT_EQ(windows[2].continuation, (std::vector<TokenId>{6, 7}));
}

TEST(RollingWindows, WithAStrideEveryTokenIsScoredOnceWithMoreContext) {
  std::vector<TokenId> tokens(23);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i);
  std::vector<TokenId> scored;
  for (const ScoreRequest& window : rolling_windows(tokens, 99, 8, 3)) {
    EXPECT_LE(window.context.size() + window.continuation.size() - 1, 8u);
    scored.insert(scored.end(), window.continuation.begin(), window.continuation.end());
  }
  EXPECT_EQ(scored, tokens);
  EXPECT_TRUE(rolling_windows({}, 99, 8, 3).empty());
  EXPECT_THROW(rolling_windows(tokens, 99, 8, 9), Error);
}

}  // namespace
}  // namespace xinslm
