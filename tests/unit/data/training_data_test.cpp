#include "xinslm/data/training_data.h"

#include <ATen/ATen.h>

#include <set>

#include "data_test.h"
#include "xinslm/data/builtin_corpus.h"

using namespace xinslm;

namespace {

class TrainingDataTest : public DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    settings_.data.cache_dir = (folder_ / "cache").string();
    settings_.training.max_seq_length = 16;
    settings_.training.per_device_train_batch_size = 2;
  }
  void use(const std::string& text) { settings_.data.train = {write("train.txt", text)}; }
  TrainingData open() const { return open_training_data(settings_, tokenizer_); }
  std::string tokenizer_text() const {
    std::string all;
    const auto source = training_text(settings_);
    while (const auto text = source()) all += cat(*text, '\n');
    return all;
  }
  static std::string numbered(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += cat("document ", i, ";\n<|endoftext|>\n");
    return text;
  }

  Settings settings_;
  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<FakeTokenizer>();
};

TEST_F(TrainingDataTest, AShareOfWholeDocumentsIsHeldOut) {
  use(numbered(1000));
  settings_.data.validation_share = 0.1;
  const TrainingData data = open();
  EXPECT_EQ(data.train_size.documents + data.validation_size.documents, 1000);
  EXPECT_NEAR(static_cast<double>(data.validation_size.documents), 100, 40);
  EXPECT_TRUE(std::isnan(data.builtin_bits_per_byte));
}

TEST_F(TrainingDataTest, TheTokenizerNeverSeesHeldOutText) {
  use(numbered(1000));
  settings_.data.validation_share = 0.1;
  const TrainingData data = open();
  std::string held_out;
  for (int64_t i = 0; i < data.validation->batches(); ++i) {
    const at::Tensor targets = data.validation->batch(i).targets;
    for (int64_t j = 0; j < targets.numel(); ++j) {
      const int64_t id = targets.data_ptr<int64_t>()[j];
      held_out += id < 0 ? "" : id == kEndOfText ? "\n" : tokenizer_->token_bytes(static_cast<TokenId>(id));
    }
  }
  const std::string learned = tokenizer_text();
  for (int i = 0; i < 1000; ++i) {
    const std::string document = cat("document ", i, ";");
    EXPECT_NE(held_out.find(document) == std::string::npos, learned.find(document) == std::string::npos) << document;
  }
}

TEST_F(TrainingDataTest, HeldOutDocumentsStayHeldOutWhenOthersAreAdded) {
  settings_.data.validation_share = 0.2;
  use(numbered(100));
  const std::string before = tokenizer_text();
  use(numbered(200));
  const std::string after = tokenizer_text();
  EXPECT_TRUE(after.starts_with(before));
}

TEST_F(TrainingDataTest, HeldOutFilesReplaceTheShare) {
  use(numbered(50));
  settings_.data.validation = {write("valid.txt", "a b c\n")};
  const TrainingData data = open();
  EXPECT_EQ(data.train_size.documents, 50);
  EXPECT_EQ(data.validation_size.documents, 1);
  EXPECT_EQ(data.validation_size.tokens, 6);
  EXPECT_EQ(data.validation_size.bytes, 5);
  EXPECT_EQ(data.validation_size.words, 3);
}

TEST_F(TrainingDataTest, OneDocumentIsTrainedOnWhole) {
  use(std::string(100, 'x'));
  const TrainingData data = open();
  EXPECT_EQ(data.validation, nullptr);
  EXPECT_EQ(data.train_size.bytes, 100);
  EXPECT_FALSE(tokenizer_text().empty());
}

TEST_F(TrainingDataTest, TwoDocumentsGiveOneOfThem) {
  use("this is one of them\n<|endoftext|>\nand this one is another\n");
  settings_.data.validation_share = 0.01;
  EXPECT_EQ(open().validation_size.documents, 1);
}

TEST_F(TrainingDataTest, EmptyOrSmallTextIsAnErrorThatSaysSo) {
  use("");
  expect_error(ErrorKind::data, {"empty"}, [&] { open(); });
  use("tiny");
  expect_error(ErrorKind::data, {"5 tokens", "16"}, [&] { open(); });
  use(numbered(50));
  settings_.data.validation = {write("valid.txt", "\n")};
  expect_error(ErrorKind::data, {"data.validation"}, [&] { open(); });
}

TEST_F(TrainingDataTest, BuiltinStoriesComeWithTheBitsTheyAreWorth) {
  settings_.data.train = {"builtin"};
  settings_.data.builtin_documents = 400;
  settings_.data.validation_share = 0.25;
  const TrainingData data = open();
  EXPECT_EQ(data.train_size.documents + data.validation_size.documents, 400);
  EXPECT_GT(data.validation_size.documents, 60);
  EXPECT_NEAR(data.builtin_bits_per_byte, builtin_entropy().bits_per_byte(), 0.01);
}

TEST_F(TrainingDataTest, DialoguesCountTheAssistantsWordsOnly) {
  std::string lines;
  for (int i = 0; i < 20; ++i) {
    lines += cat("{\"messages\": [{\"role\": \"user\", \"content\": \"QQQ", i,
                 "\"}, {\"role\": \"assistant\", \"content\": \"AA\"}]}\n");
  }
  settings_.data.train = {write("a.jsonl", lines)};
  settings_.data.validation_share = 0;
  TrainingData data = open();
  EXPECT_LT(data.train_size.learned_tokens, data.train_size.tokens / 2);
  int64_t learned = 0, answers = 0;
  for (int64_t position = 0; position < 5; ++position) {
    const Batch batch = data.train->batch(position);
    for (int64_t i = 0; i < batch.targets.numel(); ++i) {
      const int64_t target = batch.targets.data_ptr<int64_t>()[i];
      EXPECT_NE(target, 'Q');
      EXPECT_NE(target, kEndOfText);
      learned += target != -100;
      answers += target == 'A';
    }
    learned -= batch.target_tokens;
  }
  EXPECT_EQ(learned, 0);
  EXPECT_GT(answers, 0);

  settings_.training.loss_on = "all";
  data = open();
  EXPECT_EQ(data.train_size.learned_tokens, data.train_size.tokens);

  settings_.training.loss_on = "assistant";
  settings_.data.train = {
      write("b.jsonl", R"({"messages": [{"role": "user", "content": "a question without answer"}]})")};
  expect_error(ErrorKind::data, {"assistant"}, [&] { open(); });
}

TEST_F(TrainingDataTest, TheFingerprintChangesWithTextSeedAndRows) {
  std::set<std::string> seen;
  use(numbered(50));
  const std::string first = open().fingerprint;
  EXPECT_EQ(open().fingerprint, first);
  seen.insert(first);
  settings_.training.seed = 7;
  seen.insert(open().fingerprint);
  settings_.training.max_seq_length = 17;
  seen.insert(open().fingerprint);
  use(numbered(51));
  seen.insert(open().fingerprint);
  EXPECT_EQ(seen.size(), 4u);
}

TEST_F(TrainingDataTest, TokenizerTextIsSampledFromAllOfTheCorpus) {
  use(numbered(5000));
  settings_.data.validation_share = 0;
  settings_.tokenizer.max_training_bytes = 10000;
  const std::string text = tokenizer_text();
  EXPECT_LT(text.size(), 11000u);
  EXPECT_GT(text.size(), 8000u);
  EXPECT_NE(text.find("document 45"), std::string::npos) << "the end is in it too";
}

TEST_F(TrainingDataTest, OfFewDocumentsOneIsCutAndItsEndHeldOut) {
  settings_.data.validation_share = 0.01;
  for (const int documents : {1, 2, 3}) {
    std::string text;
    for (int i = 0; i < documents; ++i) {
      if (i > 0) text += "\n<|endoftext|>\n";
      for (int j = 0; j < 1000; ++j) text += cat(static_cast<char>('A' + i), j, ' ');
    }
    use(text);
    const TrainingData data = open();
    const auto bytes = static_cast<double>(data.train_size.bytes + data.validation_size.bytes);
    EXPECT_EQ(data.train_size.documents, documents);
    EXPECT_EQ(data.validation_size.documents, 1);
    EXPECT_NEAR(static_cast<double>(data.validation_size.bytes), 0.01 * bytes, 0.001 * bytes);
    EXPECT_EQ(data.train_size.words + data.validation_size.words, 1000 * documents);
    EXPECT_EQ(data.train_size.tokens + data.validation_size.tokens, bytes + documents);
    // The tokenizer learns from exactly what is trained on, up to the white space a cut is made at.
    EXPECT_NEAR(static_cast<double>(tokenizer_text().size()), static_cast<double>(data.train_size.bytes), 20);
    const at::Tensor targets = data.validation->batch(0).targets;
    std::string held_out;
    for (int64_t i = 0; i < targets.numel(); ++i) {
      const int64_t id = targets.data_ptr<int64_t>()[i];
      held_out += id >= 0 && id < 256 ? static_cast<char>(id) : '\n';
    }
    EXPECT_EQ(tokenizer_text().find(held_out.substr(0, held_out.find('\n'))), std::string::npos) << held_out;
  }
}

TEST_F(TrainingDataTest, NoLongDocumentMakesTheHeldOutShareMuchLarger) {
  settings_.data.validation_share = 0.5;
  use(std::string(4000, 'a') + "\n<|endoftext|>\n" + std::string(4000, 'b') + "\n<|endoftext|>\n" +
      std::string(4000, 'c'));
  const TrainingData data = open();
  EXPECT_GT(data.train_size.bytes, 3000);
  EXPECT_GT(data.validation_size.bytes, 3000);
}

TEST_F(TrainingDataTest, DialoguesAreHeldOutWhole) {
  const auto dialogue = [](char letter) {
    return cat(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ")",
               std::string(500, letter), "\"}]}\n");
  };
  settings_.data.train = {write("a.jsonl", dialogue('a') + dialogue('b'))};
  settings_.data.validation_share = 0.01;
  const TrainingData data = open();
  EXPECT_EQ(data.train_size.documents, 1);
  EXPECT_EQ(data.validation_size.documents, 1);
}

TEST_F(TrainingDataTest, ATokenizersSampleSmallerThanTheFirstDocumentIsAPartOfIt) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += cat("word", i, ' ');
  use(text);
  settings_.data.validation_share = 0;
  settings_.tokenizer.max_training_bytes = 4096;
  const std::string sample = tokenizer_text();
  EXPECT_GT(sample.size(), 2000u);
  EXPECT_LT(sample.size(), 4200u);
  EXPECT_NE(sample.find("word2"), std::string::npos) << "from all of it";
  settings_.data.train = {write("a.jsonl", R"({"messages": [{"role": "assistant", "content": ")" + text + "\"}]}")};
  EXPECT_GT(tokenizer_text().size(), 3000u);
}

}  // namespace
