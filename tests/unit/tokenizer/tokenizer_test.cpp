#include "xinslm/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <thread>

#include "unit/tokenizer/sample_text.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

namespace fs = std::filesystem;

class TokenizerFolder : public testing::Test {
 protected:
  TokenizerFolder() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / cat("xinslm_tokenizer_", info->name(), "_", std::random_device{}());
    fs::create_directories(folder_);
  }
  ~TokenizerFolder() override { fs::remove_all(folder_); }

  void expect_data_error(const fs::path& path, const std::string& part) {
    try {
      load_tokenizer(path);
      ADD_FAILURE() << "no error, expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  fs::path folder_;
};

TEST_F(TokenizerFolder, SavedAndLoadedIsTheSame) {
  const auto& tokenizer = *test::sample_tokenizer();
  tokenizer.save(folder_);
  for (const fs::path& path : {folder_, folder_ / "tokenizer.model"}) {
    const auto loaded = load_tokenizer(path);
    EXPECT_EQ(loaded->fingerprint(), tokenizer.fingerprint());
    EXPECT_EQ(loaded->vocab_size(), tokenizer.vocab_size());
    const std::string text = test::sample_text(20, 3);
    EXPECT_EQ(loaded->encode(text), tokenizer.encode(text));
  }
  EXPECT_EQ(read_json(folder_ / "tokenizer_config.json")["eos_token"], "<|endoftext|>");
}

TEST_F(TokenizerFolder, SaysWhatIsMissing) {
  expect_data_error(folder_ / "nowhere", "no such tokenizer file or model folder");
  expect_data_error(folder_, "no tokenizer.model in this folder");
  write_file(folder_ / "tokenizer.json", "{}");
  expect_data_error(folder_, "byte-level BPE files are not supported");
  expect_data_error(folder_ / "tokenizer.json", "byte-level BPE files");
}

TEST_F(TokenizerFolder, DamagedFilesAreErrors) {
  test::sample_tokenizer()->save(folder_);
  const fs::path file = folder_ / "tokenizer.model";
  const std::string whole = read_file(file);
  for (const std::string& content : {std::string(), std::string("not a model"), std::string(1000, '\0')}) {
    write_file(file, content);
    expect_data_error(file, file.string());
  }
  for (size_t length = 1; length < whole.size(); length += whole.size() / 50) {
    write_file(file, whole.substr(0, length));
    expect_data_error(file, file.string());
  }
}

TEST_F(TokenizerFolder, NoDamageToAByteCrashes) {
  test::sample_tokenizer()->save(folder_);
  const fs::path file = folder_ / "tokenizer.model";
  const std::string whole = read_file(file);
  RandomStream random{9};
  for (int i = 0; i < 400; ++i) {
    std::string damaged = whole;
    for (int k = 0; k <= i % 4; ++k) damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    write_file(file, damaged);
    try {
      const auto tokenizer = load_tokenizer(file);  // a changed letter may still make a sound vocabulary
      const std::string text = "Tim walked in the garden.\n\n\xFF";
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    }
  }
}

TEST(Tokenizer, SpecialTokensAreTextUnlessAllowed) {
  const auto& tokenizer = *test::sample_tokenizer();
  const std::string text = "<|start|>user<|message|>Hello<|end|>";
  const auto plain = tokenizer.encode(text), special = tokenizer.encode(text, true);
  for (const TokenId id : plain) EXPECT_FALSE(tokenizer.is_special(id));
  EXPECT_EQ(special.front(), tokenizer.special_id("<|start|>"));
  EXPECT_EQ(special.back(), tokenizer.special_id("<|end|>"));
  EXPECT_EQ(tokenizer.decode(special), "userHello");
  EXPECT_EQ(tokenizer.decode(special, true), text);
  EXPECT_EQ(tokenizer.decode(plain), text);
}

TEST(Tokenizer, HasTheHarmonyTokens) {
  const auto& tokenizer = *test::sample_tokenizer();
  for (const char* name : {"<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>",
                           "<|start|>", "<|end|>", "<|message|>", "<|call|>"}) {
    const auto id = tokenizer.special_id(name);
    ASSERT_TRUE(id) << name;
    EXPECT_TRUE(tokenizer.is_special(*id));
    EXPECT_EQ(tokenizer.token_bytes(*id), name);
  }
  EXPECT_EQ(tokenizer.end_of_text(), tokenizer.special_id("<|endoftext|>"));
  EXPECT_FALSE(tokenizer.special_id("<|other|>"));
  EXPECT_FALSE(tokenizer.special_id("the"));
}

TEST(Tokenizer, RejectsIdsOutsideTheVocabulary) {
  const auto& tokenizer = *test::sample_tokenizer();
  for (const TokenId id : {-1, static_cast<int>(tokenizer.vocab_size())}) {
    EXPECT_THROW(tokenizer.token_bytes(id), Error);
    EXPECT_THROW(tokenizer.is_special(id), Error);
    EXPECT_THROW(tokenizer.decode(std::vector<TokenId>{id}), Error);
  }
}

TEST(Tokenizer, MayBeSharedBetweenThreads) {
  const auto tokenizer = test::train_on_sample();
  const std::string text = test::sample_text(500, 11);
  const auto expected = test::sample_tokenizer()->encode(text);
  std::vector<std::vector<TokenId>> found(4);
  std::vector<std::thread> threads;
  for (auto& ids : found) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

TEST(StreamDecoder, PiecesJoinToTheWholeAndNeverSplitACharacter) {
  const auto& tokenizer = *test::sample_tokenizer();
  const std::string text = "Zürich \xF0\x9F\x98\x80\xE4\xB8\xAD\xE6\x96\x87 na\xC3\xAFve";
  StreamDecoder decoder(tokenizer);
  std::string joined;
  for (const TokenId id : tokenizer.encode(text)) {
    const std::string piece = decoder.push(id);
    EXPECT_TRUE(is_valid_utf8(piece)) << joined;
    joined += piece;
  }
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(joined, text);
}

TEST(StreamDecoder, InvalidBytesPassAsSoonAsTheyAreCertain) {
  const auto& tokenizer = *test::sample_tokenizer();
  const auto push_all = [&tokenizer](StreamDecoder& decoder, std::string_view bytes) {
    std::string text;
    for (const TokenId id : tokenizer.encode(bytes)) text += decoder.push(id);
    return text;
  };
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(push_all(decoder, "\xFF"), "\xFF");
  EXPECT_EQ(push_all(decoder, "\xE4"), "");
  EXPECT_EQ(push_all(decoder, "\xB8"), "");
  EXPECT_EQ(push_all(decoder, "\xC3"), "\xE4\xB8");
  EXPECT_EQ(push_all(decoder, "x"), "\xC3x");
  EXPECT_EQ(push_all(decoder, "\xF0\x9F"), "");
  EXPECT_EQ(decoder.finish(), "\xF0\x9F");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, SpecialTokensAreDroppedOrShown) {
  const auto& tokenizer = *test::sample_tokenizer();
  const TokenId end = *tokenizer.special_id("<|end|>");
  StreamDecoder dropping(tokenizer), showing(tokenizer, true);
  EXPECT_EQ(dropping.push(end), "");
  EXPECT_EQ(showing.push(end), "<|end|>");
}

TEST(StreamDecoder, RandomTokensGiveTheSameAsDecode) {
  const auto& tokenizer = *test::sample_tokenizer();
  RandomStream random{4};
  for (const bool keep_special : {false, true}) {
    for (int round = 0; round < 300; ++round) {
      StreamDecoder decoder(tokenizer, keep_special);
      std::vector<TokenId> ids(random.below(40));
      std::string joined;
      for (TokenId& id : ids) {
        id = static_cast<TokenId>(random.below(tokenizer.vocab_size()));
        joined += decoder.push(id);
      }
      EXPECT_EQ(joined + decoder.finish(), tokenizer.decode(ids, keep_special));
    }
  }
}

}  // namespace
}  // namespace xinslm
