#include "xinslm/data/token_file.h"

#include <fstream>

#include "data_test.h"
#include "xinslm/core/hash.h"

namespace fs = std::filesystem;
using namespace xinslm;

namespace {

class TokenFileTest : public DataTest {
 protected:
  CorpusOptions corpus(const std::string& content, const std::string& name = "a.txt") const {
    CorpusOptions options;
    options.inputs = {write(name, content)};
    options.separator = "<|endoftext|>";
    return options;
  }
  std::shared_ptr<const TokenFile> open(const CorpusOptions& options) const {
    return open_tokens(options, tokenizer_, folder_ / "cache", 2, "test");
  }
  static std::vector<int64_t> ids(const TokenFile& file, int64_t document) {
    std::vector<int64_t> ids(file.begin(document + 1) - file.begin(document));
    file.read(file.begin(document), static_cast<int64_t>(ids.size()), ids.data());
    return ids;
  }
  std::vector<fs::path> cache_files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache")) files.push_back(entry.path());
    return files;
  }
  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<FakeTokenizer>();
};

TEST_F(TokenFileTest, HoldsTokensBytesAndWordsOfEachDocument) {
  const auto file = open(corpus("the a\n<|endoftext|>\nb c  d\n"));
  ASSERT_EQ(file->documents(), 2);
  EXPECT_EQ(ids(*file, 0), (std::vector<int64_t>{256, ' ', 'a', kEndOfText}));
  EXPECT_EQ(file->bytes(0), 5);
  EXPECT_EQ(file->words(0), 2);
  EXPECT_EQ(file->bytes(1), 6);
  EXPECT_EQ(file->words(1), 3);
  EXPECT_EQ(file->tokens(), 4 + 7);
  EXPECT_FALSE(file->has_mask());
}

TEST_F(TokenFileTest, DoesNotDependOnTheNumberOfThreads) {
  std::string text;
  for (int i = 0; i < 300000; ++i) text += cat("the word ", i, i % 50 == 0 ? "\n<|endoftext|>\n" : "\n");
  const auto options = corpus(text);
  const std::string key(64, 'k');
  for (int threads : {1, 3}) {
    write_token_file(folder_ / cat(threads), key, *open_corpus(options), tokenizer_, threads);
  }
  EXPECT_EQ(sha256_file(folder_ / "1"), sha256_file(folder_ / "3"));
}

TEST_F(TokenFileTest, WordsAcrossPartsAreCountedOnce) {
  const auto file = open(corpus(std::string(200000, 'x') + " y"));
  EXPECT_EQ(file->words(0), 2);
  EXPECT_EQ(file->bytes(0), 200002);
}

TEST_F(TokenFileTest, LargeVocabulariesTakeFourBytes) {
  tokenizer_ = std::make_shared<FakeTokenizer>(true, 70000);
  const auto file = open(corpus("the"));
  EXPECT_EQ(ids(*file, 0), (std::vector<int64_t>{256, kEndOfText}));
}

TEST_F(TokenFileTest, DialoguesAreLearnedWhereTheAssistantSpeaks) {
  const auto file =
      open(corpus("{\"text\": \"abcdefghi\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, "
                  "{\"role\": \"assistant\", \"content\": \"A\"}]}\n{\"text\": \"z\"}\n",
                  "a.jsonl"));
  ASSERT_TRUE(file->has_mask());
  for (int64_t token = 0; token < file->begin(1); ++token) EXPECT_TRUE(file->learned(token));
  const auto dialogue = ids(*file, 1);
  for (size_t i = 0; i < dialogue.size(); ++i) {
    if (dialogue[i] == 'Q') {
      EXPECT_FALSE(file->learned(file->begin(1) + i));
    }
    if (dialogue[i] == 'A') {
      EXPECT_TRUE(file->learned(file->begin(1) + i));
    }
  }
  EXPECT_FALSE(file->learned(file->begin(2) - 1)) << "the end of text after a dialogue";
  EXPECT_TRUE(file->learned(file->begin(2)));
  EXPECT_TRUE(file->learned(file->tokens() - 1));
}

TEST_F(TokenFileTest, DialoguesNeedATokenizerForThem) {
  tokenizer_ = std::make_shared<FakeTokenizer>(false);
  const auto options = corpus("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}]}\n", "a.jsonl");
  expect_error(ErrorKind::data, {"a.jsonl:1", "<|start|>"}, [&] { open(options); });
  EXPECT_TRUE(cache_files().empty());
}

TEST_F(TokenFileTest, TheCacheIsUsedAgainAndKeyedByTextTokenizerAndOptions) {
  auto options = corpus("the\n");
  const auto first = open(options);
  const auto time = fs::last_write_time(first->path());
  EXPECT_EQ(fs::last_write_time(open(options)->path()), time);
  EXPECT_EQ(cache_files().size(), 1u);

  std::vector<std::string> keys = {first->key()};
  options.line_end = "|";
  keys.push_back(open(options)->key());
  options.separator = "";
  keys.push_back(open(options)->key());
  options.max_bytes = 2;
  keys.push_back(open(options)->key());
  keys.push_back(open(corpus("thE\n"))->key());
  tokenizer_ = std::make_shared<FakeTokenizer>(true, 301);
  keys.push_back(open(options)->key());
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::unique(keys.begin(), keys.end()), keys.end());
}

TEST_F(TokenFileTest, DamagedCacheFilesAreMadeAgain) {
  const auto options = corpus("the cat\n<|endoftext|>\nsat\n");
  const fs::path path = open(options)->path();
  const std::string good = read_file(path);
  std::vector<std::string> damaged = {"", "x", good.substr(0, 100), good.substr(0, good.size() - 1), good + "x"};
  for (size_t at : {0, 9, 20, 40, 60, 128, 140}) {  // magic, sizes, checksum, key, tokens, arrays
    damaged.push_back(good);
    damaged.back()[at] ^= 64;
  }
  for (const std::string& content : damaged) {
    write_file(path, content);
    EXPECT_THROW(TokenFile(path, sha256("")), Error);
    EXPECT_EQ(open(options)->documents(), 2);
    EXPECT_EQ(read_file(path), good);
  }
}

TEST_F(TokenFileTest, BigFilesAreHashedAgainWhenTheyChange) {
  std::string text(17 << 20, 'a');
  auto options = corpus(text);
  const fs::path source = options.inputs[0];
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(source, old);
  const std::string key = open(options)->key();
  EXPECT_TRUE(fs::exists(folder_ / "cache" / "file-hashes.json"));
  EXPECT_EQ(open(options)->key(), key);

  text[5] = 'b';
  write_file(source, text);
  fs::last_write_time(source, old + std::chrono::seconds(1));
  EXPECT_NE(open(options)->key(), key);
  write_file(folder_ / "cache" / "file-hashes.json", "{\"broken\": ");
  EXPECT_NE(open(options)->key(), key);
}

TEST_F(TokenFileTest, BuiltinStoriesAreACorpus) {
  CorpusOptions options;
  options.inputs = {"builtin"};
  options.builtin_documents = 20;
  const std::string key = open(options)->key();
  EXPECT_EQ(open(options)->documents(), 20);
  options.builtin_seed = 1;
  EXPECT_NE(open(options)->key(), key);
}

TEST_F(TokenFileTest, TextThatChangesWhileItIsReadIsNotKept) {
  /// Changes the file when the first of it becomes tokens.
  class Changing : public FakeTokenizer {
   public:
    explicit Changing(fs::path file) : file_(std::move(file)) {}
    std::vector<TokenId> encode(std::string_view text, bool allow_special) const override {
      std::ofstream(file_, std::ios::app) << "more\n";
      return FakeTokenizer::encode(text, allow_special);
    }

   private:
    fs::path file_;
  };
  const auto options = corpus("the\n");
  tokenizer_ = std::make_shared<Changing>(folder_ / "a.txt");
  expect_error(ErrorKind::data, {"changed while it was read"}, [&] { open(options); });
  EXPECT_TRUE(cache_files().empty());
}

TEST_F(TokenFileTest, BadLinesOnceLeftOutAreStillAnErrorWithoutTheSetting) {
  auto options = corpus("{\"text\": \"a\"}\n5\n", "a.jsonl");
  options.skip_bad_lines = true;
  EXPECT_EQ(open(options)->documents(), 1);
  options.skip_bad_lines = false;
  expect_error(ErrorKind::data, {"a.jsonl:2"}, [&] { open(options); });
}

}  // namespace
