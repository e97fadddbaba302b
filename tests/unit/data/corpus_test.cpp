#include "xinslm/data/corpus.h"

#include <random>

#include "data_test.h"

using namespace xinslm;
using Documents = std::vector<std::string>;

namespace {

class CorpusTest : public DataTest {
 protected:
  static CorpusOptions from(const std::vector<std::string>& inputs, const std::string& separator = "<|endoftext|>") {
    CorpusOptions options;
    options.inputs = inputs;
    options.separator = separator;
    return options;
  }
};

TEST_F(CorpusTest, SeparatorLinesEndDocuments) {
  const auto file =
      write("a.txt", "one\ntwo\n<|endoftext|>\n\n\nthree\n\n<|endoftext|>\r\n<|endoftext|>\nfour <|endoftext|> x");
  EXPECT_EQ(documents_of(from({file})), (Documents{"one\ntwo", "three", "four <|endoftext|> x"}));
}

TEST_F(CorpusTest, WithoutSeparatorAFileIsADocumentToTheByte) {
  const std::string content = "\n one \r\n<|endoftext|>\n\n";
  EXPECT_EQ(documents_of(from({write("a.txt", content)}, "")), Documents{content});
}

TEST_F(CorpusTest, LineEndsAreReplaced) {
  auto options = from({write("a.txt", " = T = \n \n word\r\nlast")});
  options.line_end = "<eos>";
  EXPECT_EQ(documents_of(options), Documents{" = T = <eos> <eos> word<eos>last<eos>"});
}

TEST_F(CorpusTest, ManyEmptyDocumentsAreLeftOut) {
  std::string content;
  for (int i = 0; i < 100000; ++i) content += "<|endoftext|>\n\n";
  EXPECT_EQ(documents_of(from({write("a.txt", content + "x")})), Documents{"x"});
  EXPECT_TRUE(documents_of(from({write("b.txt", content)})).empty());
  EXPECT_TRUE(documents_of(from({write("c.txt", "")})).empty());
}

TEST_F(CorpusTest, LongDocumentsComeInPartsCutBeforeBlanks) {
  std::string content;
  while (content.size() < 400000)
    content += "word" + std::to_string(content.size()) + (content.size() % 7 ? " " : "\n");
  const auto options = from({write("a.txt", content)}, "");
  EXPECT_EQ(documents_of(options), Documents{content});
  int parts = 0;
  DocumentPart part;
  for (const auto reader = open_corpus(options); reader->next(part); ++parts) {
    EXPECT_LE(part.text.size(), size_t{1} << 16);
    if (parts > 0) {
      EXPECT_EQ(part.text[0], ' ');
    }
  }
  EXPECT_GT(parts, 5);
}

TEST_F(CorpusTest, LongTextWithoutBlanksIsCutBetweenCharacters) {
  std::string content = "x";
  for (int i = 0; i < 100000; ++i) content += "\u20ac";
  const auto options = from({write("a.txt", content)});
  EXPECT_EQ(documents_of(options), Documents{content});
  DocumentPart part;
  const auto reader = open_corpus(options);
  ASSERT_TRUE(reader->next(part));
  EXPECT_EQ(part.text.size() % 3, 1u);
}

TEST_F(CorpusTest, BytesThatAreNotTextPassUnchanged) {
  std::string content;
  for (int i = 0; i < 200000; ++i) content += static_cast<char>(128 + i % 64);
  EXPECT_EQ(documents_of(from({write("a.txt", content)}, "")), Documents{content});
}

TEST_F(CorpusTest, JsonLinesGiveTextAndDialogues) {
  const auto file =
      write("a.jsonl", R"({"text": "one\ntwo", "id": 3})"
                       "\n\n"
                       R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]})");
  EXPECT_EQ(documents_of(from({file})), (Documents{"one\ntwo", "user: hi|assistant: ho|"}));
}

TEST_F(CorpusTest, BrokenJsonLineNamesFileAndLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"text\": ", "not valid JSON"},      {"[1, 2]", "expected {\"text\""},
      {"{\"txt\": \"x\"}", "expected"},       {"{\"text\": 5}", "expected"},
      {"{\"messages\": []}", "at least one"}, {"{\"messages\": [{\"role\": \"user\"}]}", "content"},
      {"{\"text\": \"\xff\"}", "not valid"},  {"{\"messages\": [{\"role\": \"bot\", \"content\": \"\"}]}", "bot"}};
  for (const auto& [line, words] : cases) {
    const auto file = write("a.jsonl", "{\"text\": \"fine\"}\n" + line + "\n");
    expect_error(ErrorKind::data, {"a.jsonl:2", words}, [&] { documents_of(from({file})); });
  }
}

TEST_F(CorpusTest, GzipIsReadLikePlainText) {
  const std::string text = "one\n<|endoftext|>\ntwo\n", json = "{\"text\": \"three\"}\n";
  const Documents expected = {"one", "two", "three"};
  EXPECT_EQ(documents_of(from({write_gzip("a.txt.gz", text), write_gzip("b.jsonl.gz", json)})), expected);
}

TEST_F(CorpusTest, CutOffGzipIsAnErrorNotAShortText) {
  std::string noise;
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) noise += static_cast<char>('a' + random() % 26);
  const auto path = write_gzip("a.txt.gz", noise);
  write("b.txt.gz", read_file(path).substr(0, 2000));
  expect_error(ErrorKind::data, {"b.txt.gz"}, [&] { documents_of(from({(folder_ / "b.txt.gz").string()})); });
}

TEST_F(CorpusTest, AutoFormatLooksAtUnknownFiles) {
  EXPECT_EQ(documents_of(from({write("a.data", "{\"text\": \"x\"}")})), Documents{"x"});
  EXPECT_EQ(documents_of(from({write("b.data", "plain")})), Documents{"plain"});
  auto options = from({write("c.data", "{\"text\": \"x\"}")});
  options.format = "text";
  EXPECT_EQ(documents_of(options), Documents{"{\"text\": \"x\"}"});
}

TEST_F(CorpusTest, FoldersAreWalkedInOrderAndGlobsMatch) {
  write("d/b.txt", "b");
  write("d/a/z.txt", "z");
  write("d/c.jsonl", "{\"text\": \"c\"}");
  write("d/ignored.bin", "i");
  EXPECT_EQ(documents_of(from({(folder_ / "d").string()})), (Documents{"z", "b", "c"}));
  EXPECT_EQ(documents_of(from({(folder_ / "d" / "*.txt").string()})), Documents{"b"});
}

TEST_F(CorpusTest, MissingInputsAreErrorsThatNameThem) {
  std::filesystem::create_directories(folder_ / "empty");
  expect_error(ErrorKind::data, {"nowhere.txt"}, [&] { corpus_files({"nowhere.txt"}); });
  expect_error(ErrorKind::data, {"*.none"}, [&] { corpus_files({(folder_ / "*.none").string()}); });
  expect_error(ErrorKind::data, {"empty"}, [&] { corpus_files({(folder_ / "empty").string()}); });
  expect_error(ErrorKind::usage, {"builtin"}, [&] { corpus_files({write("a.txt", "x"), "builtin"}); });
}

TEST_F(CorpusTest, LimitCutsTheTextAndKeepsDialoguesWhole) {
  auto options = from({write("a.txt", "one two\n<|endoftext|>\nthree four five")});
  for (const auto& [limit, expected] : std::vector<std::pair<int, Documents>>{{1, {"o"}},
                                                                              {7, {"one two"}},
                                                                              {8, {"one two", "t"}},
                                                                              {14, {"one two", "three"}},
                                                                              {99, {"one two", "three four five"}}}) {
    options.max_bytes = limit;
    EXPECT_EQ(documents_of(options), expected) << limit;
  }
  options = from({write("a.jsonl", R"({"messages": [{"role": "user", "content": "hello"}]})")});
  options.max_bytes = 4;
  EXPECT_TRUE(documents_of(options).empty());
}

}  // namespace
