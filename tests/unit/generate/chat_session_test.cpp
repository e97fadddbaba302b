#include "xinslm/generate/chat_session.h"

#include <gtest/gtest.h>

#include <fstream>

#include "unit/generate/byte_tokenizer.h"

namespace xinslm {
namespace {

GenerateOptions short_answers() {
  GenerateOptions options;
  options.sampling.temperature = 1;
  options.max_tokens = 8;
  return options;
}

class ChatSessionTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Tokenizer> tokenizer = std::make_shared<ByteTokenizer>();
  Transformer model = tiny_model(tiny_config(200));
  ChatSession session{model, tokenizer, true};
  std::filesystem::path file =
      std::filesystem::temp_directory_path() /
      ("xinslm-chat-" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + ".json");
};

TEST_F(ChatSessionTest, ASecondTurnComputesOnlyWhatIsNew) {
  const GenerateResult first = session.ask("hello", short_answers());
  EXPECT_EQ(first.reused_tokens, 0);
  const GenerateResult second = session.ask("hi", short_answers());
  // The whole first turn but the answer's last token, which was never fed.
  EXPECT_GE(second.reused_tokens, first.prompt_tokens + static_cast<int64_t>(first.tokens.size()) - 1);
  EXPECT_EQ(session.messages().size(), 4u);
}

TEST_F(ChatSessionTest, UndoForgetsOneTurn) {
  EXPECT_FALSE(session.undo());
  session.ask("one", short_answers());
  session.ask("two", short_answers());
  EXPECT_TRUE(session.undo());
  ASSERT_EQ(session.messages().size(), 2u);
  EXPECT_EQ(session.messages()[0].content, "one");
}

TEST_F(ChatSessionTest, RetryReplacesTheAnswerAndDrawsAnew) {
  EXPECT_THROW(session.retry(short_answers()), Error);
  const GenerateResult first = session.ask("one", short_answers());
  const GenerateResult second = session.retry(short_answers());
  EXPECT_EQ(session.messages().size(), 2u);
  EXPECT_NE(first.ids(), second.ids());
}

TEST_F(ChatSessionTest, SystemMessageComesFirstAndSurvivesReset) {
  session.set_system("short");
  session.ask("one", short_answers());
  EXPECT_EQ(session.messages()[0].role, "system");
  session.reset();
  ASSERT_EQ(session.messages().size(), 1u);
  EXPECT_EQ(session.messages()[0].content, "short");
}

TEST_F(ChatSessionTest, SavedConversationsLoadAgain) {
  session.set_system("be kind");
  session.ask("one \"quoted\"", short_answers());
  session.save(file);
  ChatSession other(model, tokenizer, true);
  other.load(file);
  ASSERT_EQ(other.messages().size(), 3u);
  EXPECT_EQ(other.messages()[1].content, "one \"quoted\"");
  EXPECT_EQ(other.system(), "be kind");
  std::filesystem::remove(file);
}

TEST_F(ChatSessionTest, BrokenFilesAreErrorsAndChangeNothing) {
  session.ask("one", short_answers());
  for (const char* content : {"{", "[]", R"({"messages": [1]})", R"({"messages": [{"role": "king", "content": ""}]})",
                              R"({"messages": [{"role": "user", "content": "no answer"}]})"}) {
    std::ofstream(file) << content;
    EXPECT_THROW(session.load(file), Error) << content;
    EXPECT_EQ(session.messages().size(), 2u);
  }
  std::filesystem::remove(file);
  EXPECT_THROW(session.load(file), Error);
}

TEST_F(ChatSessionTest, OldestTurnsAreLeftOutWhenTheModelIsFull) {
  for (int i = 0; i < 8; ++i) session.ask("a message of some length", short_answers());
  EXPECT_GT(session.left_out(), 0);
  EXPECT_LT(session.tokens(), 200);
  EXPECT_EQ(session.messages().size(), 16u);
}

TEST_F(ChatSessionTest, AMessageThatCannotFitIsAnErrorAndForgotten) {
  session.ask("one", short_answers());
  EXPECT_THROW(session.ask(std::string(500, 'a'), short_answers()), Error);
  EXPECT_EQ(session.messages().size(), 2u);
  session.ask("two", short_answers());
  EXPECT_EQ(session.messages().size(), 4u);
}

TEST_F(ChatSessionTest, AFailedRetryKeepsTheOldAnswer) {
  session.ask("one", short_answers());
  const std::string before = session.messages()[1].content;
  GenerateOptions wrong = short_answers();
  wrong.sampling.top_p = 0;
  EXPECT_THROW(session.retry(wrong), Error);
  ASSERT_EQ(session.messages().size(), 2u);
  EXPECT_EQ(session.messages()[1].content, before);
}

TEST_F(ChatSessionTest, WhatAStopTextCutIsForgottenAsInASavedConversation) {
  for (const bool chat_format : {true, false}) {
    ChatSession live(model, tokenizer, chat_format);
    GenerateOptions options = short_answers();
    options.sampling.temperature = 0;
    options.max_tokens = 20;
    const std::string whole = live.ask("one", options).text;
    ASSERT_GT(whole.size(), 4u);
    live.reset();
    options.stop_texts = {whole.substr(2, 2)};
    const GenerateResult cut = live.ask("one", options);
    EXPECT_TRUE(cut.stopped_by_text);
    EXPECT_EQ(cut.text, whole.substr(0, whole.find(options.stop_texts[0])));
    // Setting the system message makes the tokens anew from the texts, as loading does.
    ChatSession loaded(model, tokenizer, chat_format);
    loaded.ask("one", options);
    loaded.set_system("");
    EXPECT_EQ(live.tokens(), loaded.tokens());
    options.stop_texts.clear();
    EXPECT_EQ(live.ask("two", options).ids(), loaded.ask("two", options).ids());
  }
}

TEST_F(ChatSessionTest, AnUnknownEffortInAFileIsAnErrorAndChangesNothing) {
  session.ask("one", short_answers());
  session.set_effort("low");
  for (const char* effort : {"\"extreme\"", "7", "[\"low\"]"}) {
    std::ofstream(file) << R"({"messages": [], "reasoning_effort": )" << effort << "}";
    EXPECT_THROW(session.load(file), Error) << effort;
    EXPECT_EQ(session.messages().size(), 2u);
    EXPECT_EQ(session.effort(), "low");
  }
  std::filesystem::remove(file);
}

TEST_F(ChatSessionTest, WithoutAChatFormatTextIsContinued) {
  ChatSession base(model, tokenizer, false);
  EXPECT_FALSE(base.has_template());
  const GenerateResult first = base.ask("once", short_answers());
  EXPECT_EQ(first.prompt_tokens, 1 + 4);
  const GenerateResult second = base.ask("more", short_answers());
  EXPECT_GE(second.reused_tokens, 4);
}

TEST(ChatFormat, IsKnownByTheTokenThatEndsTexts) {
  ModelConfig config = tiny_config();
  const auto chat = std::make_shared<ByteTokenizer>();
  config.eos_token_id = *chat->special_id("<|return|>");
  EXPECT_TRUE(has_chat_format(config, chat));
  config.eos_token_id = chat->end_of_text();
  EXPECT_FALSE(has_chat_format(config, chat));
  EXPECT_FALSE(has_chat_format(config, std::make_shared<ByteTokenizer>(false)));
}

TEST(ChatFormat, CannotBeForcedOnATokenizerWithoutIt) {
  const Transformer model = tiny_model();
  EXPECT_THROW(ChatSession(model, std::make_shared<ByteTokenizer>(false), true), Error);
}

}  // namespace
}  // namespace xinslm
