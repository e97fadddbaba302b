#include "xinslm/generate/generator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "generate/pass_length.h"
#include "unit/generate/byte_tokenizer.h"
#include "unit/host_device.h"
#include "xinslm/core/fallbacks.h"

namespace xinslm {
namespace {

GenerateOptions greedy(int64_t tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = tokens;
  return options;
}

/// [V] log-probabilities after the tokens, computed anew without a cache.
at::Tensor log_probabilities(const Transformer& model, const std::vector<TokenId>& ids) {
  const at::NoGradGuard no_gradients;
  const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
  return model.logits(model.hidden_states(tokens).select(1, -1)).reshape(-1).log_softmax(0);
}

std::vector<TokenId> uncached_greedy(const Transformer& model, std::vector<TokenId> ids, int count) {
  std::vector<TokenId> generated;
  for (int i = 0; i < count; ++i) {
    generated.push_back(static_cast<TokenId>(log_probabilities(model, ids).argmax().item<int64_t>()));
    ids.push_back(generated.back());
  }
  return generated;
}

class GeneratorTest : public ::testing::Test {
 protected:
  std::vector<TokenId> encode(const std::string& text) const { return tokenizer->encode(text); }

  std::shared_ptr<const Tokenizer> tokenizer = std::make_shared<ByteTokenizer>();
  Transformer model = tiny_model();
  Generator generator{model, tokenizer};
};

TEST_F(GeneratorTest, GreedyEqualsForwardWithoutCachePastTheWindow) {
  const std::vector<TokenId> prompt = encode("once upon a time");
  const GenerateResult result = generator.generate(prompt, greedy(30));
  EXPECT_EQ(result.ids(), uncached_greedy(model, prompt, 30));
  EXPECT_EQ(result.finish_reason, "length");
  EXPECT_EQ(result.prompt_tokens, 16);
}

TEST_F(GeneratorTest, OnAnotherDeviceItGivesTheSame) {
  allow_processor_fallback(c10::DispatchKey::PrivateUse1);
  Transformer there(model.config(), host_device(), at::kFloat);
  for (const auto& [name, tensor] : model.parameters()) there.set_parameter(name, tensor);
  Generator other{there, tokenizer};
  std::vector<TokenId> ids = encode("a text that takes passes of thirty-two tokens and of the rest");
  for (int turn = 0; turn < 2; ++turn) {
    const GenerateResult expected = generator.generate(ids, greedy(8)), found = other.generate(ids, greedy(8));
    EXPECT_EQ(found.ids(), expected.ids());
    EXPECT_EQ(found.reused_tokens, expected.reused_tokens);
    for (const TokenId id : expected.ids()) ids.push_back(id);
    ids.push_back(encode("!")[0]);
  }
}

TEST_F(GeneratorTest, RepetitionPenaltyCountsWhatWasAskedAndNoSpecialOrEndToken) {
  const TokenId hidden = tokenizer->end_of_text();
  std::vector<TokenId> ids = encode("once");
  ids.insert(ids.begin(), hidden);
  GenerateOptions options = greedy(1);
  options.sampling.repetition_penalty = 100;
  const TokenId plain_end = encode("o")[0];
  options.stop_tokens = {hidden, plain_end};
  const at::NoGradGuard no_gradients;
  const at::Tensor logits =
      model
          .logits(model.hidden_states(at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0))
                      .select(1, -1))
          .reshape(-1);
  at::Tensor expected = logits.clone();
  for (const TokenId id : encode("nce")) {
    const float value = logits[id].item<float>();
    expected[id] = value > 0 ? value / 100 : value * 100;
  }
  const auto best = static_cast<TokenId>(expected.argmax().item<int64_t>());
  const GenerateResult result = generator.generate(ids, options);
  EXPECT_EQ(result.stop_token >= 0 ? result.stop_token : result.ids().at(0), best);
}

TEST(PassLength, IsAPowerOfTwoOrShortWhereLengthsCost) {
  const auto passes = [](size_t left, bool on_processor) {
    std::vector<size_t> lengths;
    while (left > 0) {
      lengths.push_back(pass_length(left, on_processor));
      left -= lengths.back();
    }
    return lengths;
  };
  EXPECT_EQ(passes(1100, true), (std::vector<size_t>{512, 512, 76}));
  EXPECT_EQ(passes(1100, false), (std::vector<size_t>{512, 512, 64, 12}));
  EXPECT_EQ(passes(511, false), (std::vector<size_t>{256, 128, 64, 32, 31}));
  EXPECT_EQ(passes(1, false), (std::vector<size_t>{1}));
}

TEST_F(GeneratorTest, LogProbabilitiesAreThoseOfTheModel) {
  GenerateOptions options = greedy(3);
  options.sampling.temperature = 1.5;
  options.logprobs = 2;
  std::vector<TokenId> ids = encode("abc");
  const GenerateResult result = generator.generate(ids, options);
  for (const TokenChoice& choice : result.tokens) {
    const at::Tensor expected = log_probabilities(model, ids);
    EXPECT_NEAR(choice.log_probability, expected[choice.id].item<double>(), 1e-4);
    ASSERT_EQ(choice.alternatives.size(), 2u);
    EXPECT_EQ(choice.alternatives[0].first, expected.argmax().item<int64_t>());
    EXPECT_GE(choice.alternatives[0].second, choice.alternatives[1].second);
    ids.push_back(choice.id);
  }
}

TEST_F(GeneratorTest, AContinuedConversationComputesOnlyWhatIsNew) {
  std::vector<TokenId> ids = encode("hello");
  const GenerateResult first = generator.generate(ids, greedy(6));
  for (const TokenId id : first.ids()) ids.push_back(id);
  const std::vector<TokenId> more = encode(" again");
  ids.insert(ids.end(), more.begin(), more.end());
  const GenerateResult second = generator.generate(ids, greedy(6));
  EXPECT_EQ(second.reused_tokens, 5 + 6 - 1);  // the last token generated was never fed
  EXPECT_EQ(second.ids(), uncached_greedy(model, ids, 6));
}

TEST_F(GeneratorTest, ADifferentPromptReusesTheCommonBeginning) {
  generator.generate(encode("abcdef"), greedy(1));
  const GenerateResult result = generator.generate(encode("abcxyz"), greedy(4));
  EXPECT_EQ(result.reused_tokens, 3);
  EXPECT_EQ(result.ids(), uncached_greedy(model, encode("abcxyz"), 4));
}

TEST_F(GeneratorTest, GoingBackBeyondTheWindowComputesAnew) {
  generator.generate(encode("abc" + std::string(50, 'd')), greedy(1));
  const GenerateResult result = generator.generate(encode("abcx"), greedy(4));
  EXPECT_EQ(result.ids(), uncached_greedy(model, encode("abcx"), 4));
}

TEST_F(GeneratorTest, TheSamePromptAgainLeavesOneTokenToCompute) {
  generator.generate(encode("abcdef"), greedy(1));
  EXPECT_EQ(generator.generate(encode("abcdef"), greedy(1)).reused_tokens, 5);
}

TEST_F(GeneratorTest, OtherNumberOfExpertsDoesNotReuse) {
  generator.generate(encode("abcdef"), greedy(1));
  GenerateOptions options = greedy(1);
  options.num_experts_per_tok = 4;
  EXPECT_EQ(generator.generate(encode("abcdef"), options).reused_tokens, 0);
}

TEST_F(GeneratorTest, StopsAtAStopTokenAndLeavesItOut) {
  const std::vector<TokenId> all = generator.generate(encode("abc"), greedy(5)).ids();
  GenerateOptions options = greedy(5);
  options.stop_tokens = {all[2]};
  const size_t first = static_cast<size_t>(std::find(all.begin(), all.end(), all[2]) - all.begin());
  const GenerateResult result = generator.generate(encode("abc"), options);
  EXPECT_EQ(result.finish_reason, "stop");
  EXPECT_EQ(result.stop_token, all[2]);
  EXPECT_EQ(result.ids(), std::vector<TokenId>(all.begin(), all.begin() + static_cast<ptrdiff_t>(first)));
}

TEST_F(GeneratorTest, ShowsNothingOfAStopText) {
  GenerateOptions options = greedy(200);
  options.sampling.temperature = 3;  // all kinds of bytes
  options.max_tokens = 60;
  options.sampling.top_p = 1;
  const std::string whole = generator.generate(encode("abc"), options).text;
  ASSERT_GT(whole.size(), 20u);
  options.stop_texts = {whole.substr(10, 3)};
  std::string shown;
  const GenerateResult result = generator.generate(encode("abc"), options, [&](const std::string& piece) {
    shown += piece;
    return true;
  });
  EXPECT_EQ(result.finish_reason, "stop");
  EXPECT_EQ(result.text, whole.substr(0, whole.find(whole.substr(10, 3))));
  EXPECT_EQ(shown, result.text);
}

TEST_F(GeneratorTest, EndsWhenThePositionsAreUsedUp) {
  const GenerateResult result = generator.generate(encode(std::string(90, 'a')), greedy(100));
  EXPECT_EQ(result.finish_reason, "context");
  EXPECT_EQ(result.tokens.size(), 6u);
}

TEST_F(GeneratorTest, StopsWhenTheListenerHasEnough) {
  int calls = 0;
  const GenerateResult result =
      generator.generate(encode("abc"), greedy(50), [&](const std::string&) { return ++calls < 3; });
  EXPECT_EQ(result.finish_reason, "interrupted");
  EXPECT_LT(result.tokens.size(), 50u);
}

TEST_F(GeneratorTest, SameSeedSameText) {
  GenerateOptions options = greedy(20);
  options.sampling = {1.0, 0, 0.95, 0.0, 1.0, 5};
  const std::vector<TokenId> first = generator.generate(encode("abc"), options).ids();
  EXPECT_EQ(generator.generate(encode("abc"), options).ids(), first);
  options.sampling.seed = 6;
  EXPECT_NE(generator.generate(encode("abc"), options).ids(), first);
}

TEST_F(GeneratorTest, NeverChoosesTokensTheTokenizerDoesNotKnow) {
  Generator small(model, std::make_shared<ByteTokenizer>(false));  // 257 of the model's 263 tokens
  GenerateOptions options = greedy(80);
  options.sampling = {50.0, 0, 1.0, 0.0, 1.0, 1};
  for (const TokenId id : small.generate(encode("abc"), options).ids()) EXPECT_LT(id, 257);
}

TEST_F(GeneratorTest, RejectsPromptsThatAreEmptyTooLongOrForeign) {
  EXPECT_THROW(generator.generate({}, greedy(1)), Error);
  EXPECT_THROW(generator.generate(encode(std::string(96, 'a')), greedy(1)), Error);
  EXPECT_THROW(generator.generate({400}, greedy(1)), Error);
  EXPECT_THROW(generator.generate({1}, greedy(0)), Error);
}

}  // namespace
}  // namespace xinslm
