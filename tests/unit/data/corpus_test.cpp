#include "xinslm/data/corpus.h"

#include <sys/stat.h>

#include <fstream>
#include <random>
#include <thread>

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

TEST_F(CorpusTest, StrayBytesThatAreNoCharactersPassUnchanged) {
  std::string content;
  for (int i = 0; i < 200000; ++i) content += i % 9 == 0 ? static_cast<char>(128 + i % 64) : 'a';
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

TEST_F(CorpusTest, WhatIsNoTextIsNamedAndRefused) {
  using namespace std::string_literals;
  const std::string text = "some text of a few words\n";
  const auto wide = [&](const std::string& mark, size_t before, size_t after) {
    std::string bytes = mark;
    for (const char c : text) bytes += std::string(before, '\0') + c + std::string(after, '\0');
    return bytes;
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {wide("\xFF\xFE", 0, 1), "UTF-16"},
      {wide("\xFE\xFF", 1, 0), "UTF-16"},
      {wide("", 0, 1), "UTF-16LE"},
      {wide("", 1, 0), "UTF-16BE"},
      {wide("\xFF\xFE\0\0"s, 0, 3), "UTF-32"},
      {wide("\0\0\xFE\xFF"s, 3, 0), "UTF-32"},
      {wide("", 0, 3), "UTF-32LE"},
      {"GGUF\0\0\1"s, "NUL"},
      {std::string(600000, 'x') + '\0', "byte 600000"},
      {"\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0", "not UTF-8"}};
  for (const auto& [bytes, words] : cases) {
    const std::string file = write("a b.txt", bytes);
    const std::string fix = words.starts_with("UTF") ? "iconv -f " + words : "UTF-8";
    expect_error(ErrorKind::data, {"a b.txt", words, words[0] == 'b' ? "NUL" : fix},
                 [&] { documents_of(from({file})); });
  }
  write_gzip("w.txt.gz", wide("\xFF\xFE", 0, 1));
  expect_error(ErrorKind::data, {"w.txt.gz", "iconv"}, [&] { documents_of(from({(folder_ / "w.txt.gz").string()})); });
}

TEST_F(CorpusTest, AMarkInFrontOfUtf8IsNoText) {
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(documents_of(from({write("a.txt", mark + "one\n<|endoftext|>\ntwo")})), (Documents{"one", "two"}));
  EXPECT_EQ(documents_of(from({write("b.txt", mark + "<|endoftext|>\none")})), Documents{"one"});
  EXPECT_EQ(documents_of(from({write("c.txt", mark + "one")}, "")), Documents{"one"});
  EXPECT_EQ(documents_of(from({write("d.jsonl", mark + "{\"text\": \"x\"}")})), Documents{"x"});
  for (const std::string& start : {mark, std::string("\n"), mark + "\r\n \n\t"}) {
    EXPECT_EQ(documents_of(from({write("e.data", start + "{\"text\": \"x\"}")})), Documents{"x"});
    EXPECT_EQ(documents_of(from({write("f.ndjson", start + "{\"text\": \"x\"}")})), Documents{"x"});
    EXPECT_EQ(documents_of(from({write("g.JSONL", start + "{\"text\": \"x\"}")})), Documents{"x"});
  }
}

TEST_F(CorpusTest, BlankDocumentsAreLeftOutOfEveryFormat) {
  EXPECT_EQ(documents_of(from({write("a.txt", "x\n<|endoftext|>\n \t\r\n\n<|endoftext|>\ny")})), (Documents{"x", "y"}));
  const std::string lines = R"({"text": "x"})"
                            "\n"
                            R"({"text": " \t\r\n\n"})"
                            "\n"
                            R"({"text": ""})"
                            "\n"
                            R"({"text": "y"})";
  EXPECT_EQ(documents_of(from({write("a.jsonl", lines)})), (Documents{"x", "y"}));
}

TEST_F(CorpusTest, BadLinesAreLeftOutCountedAndNamedWhereThatIsAskedFor) {
  std::string lines = "{\"text\": \"first\"}\n[1]\n{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, 5]}\n";
  for (int i = 0; i < 6; ++i) lines += "{\"text\": \n";
  auto options = from({write("a.jsonl", lines + "{\"text\": \"last\"}\n")});
  expect_error(ErrorKind::data, {"a.jsonl:2"}, [&] { documents_of(options); });
  options.skip_bad_lines = true;
  EXPECT_EQ(documents_of(options), (Documents{"first", "last"}));
  options.max_bytes = 1000;
  const auto reader = open_corpus(options);
  for (DocumentPart part; reader->next(part);) {
  }
  EXPECT_EQ(reader->bad_lines().count, 8);
  const std::string told = reader->bad_lines().text();
  for (const char* words : {"8 lines", "a.jsonl:2", "a.jsonl:3", "a.jsonl:4", "3 more"}) {
    EXPECT_NE(told.find(words), std::string::npos) << words << " is not in: " << told;
  }
}

TEST_F(CorpusTest, GzipFilesInSeveralPiecesAreReadWhole) {
  write_gzip("one.gz", "one\n<|endoftext|>\n");
  write_gzip("two.gz", "two\n");
  const std::string both = read_file(folder_ / "one.gz") + read_file(folder_ / "two.gz");
  EXPECT_EQ(documents_of(from({write("both.txt.gz", both)})), (Documents{"one", "two"}));
}

TEST_F(CorpusTest, WhatIsOnlyNamedGzipIsRefused) {
  write_gzip("good.gz", "text\n");
  const std::string good = read_file(folder_ / "good.gz");
  for (const std::string& bytes : {std::string("plain text"), std::string(), good.substr(0, 1), good.substr(0, 6)}) {
    const auto file = write("a.txt.gz", bytes);
    expect_error(ErrorKind::data, {"a.txt.gz", "gzip"}, [&] { documents_of(from({file})); });
  }
  std::string damaged = good;
  damaged[damaged.size() - 6] ^= 1;
  const auto file = write("a.txt.gz", damaged);
  expect_error(ErrorKind::data, {"a.txt.gz", "cannot read"}, [&] { documents_of(from({file})); });
}

TEST_F(CorpusTest, LinksAreFollowedAndRepeatsReadOnce) {
  namespace fs = std::filesystem;
  write("elsewhere/deep/a.txt", "a");
  write("d/b.txt", "b");
  fs::create_directory_symlink(folder_ / "elsewhere", folder_ / "d" / "link");
  fs::create_directory_symlink(folder_ / "elsewhere", folder_ / "d" / "again");
  fs::create_directory_symlink(folder_ / "d", folder_ / "elsewhere" / "loop");
  fs::create_symlink(folder_ / "d" / "b.txt", folder_ / "d" / "c.txt");
  fs::create_symlink("d.txt", folder_ / "d" / "d.txt");
  fs::create_symlink("nowhere", folder_ / "d" / "e.txt");
  const std::string folder = (folder_ / "d").string();
  EXPECT_EQ(documents_of(from({folder})), (Documents{"a", "b"}));
  EXPECT_EQ(documents_of(from({folder, folder + "/b.txt", folder + "/*.txt", folder + "/./b.txt"})).size(), 2u);
}

TEST_F(CorpusTest, HiddenFilesAndFoldersAreLeftOut) {
  write("d/.git/a.txt", "a");
  write("d/.ipynb_checkpoints/b.txt", "b");
  write("d/._c.txt", "c");
  write("d/sub/D.TXT", "d");
  write("d/with space.JSONL", "{\"text\": \"e\"}");
  EXPECT_EQ(documents_of(from({(folder_ / "d").string()})), (Documents{"d", "e"}));
  EXPECT_EQ(documents_of(from({(folder_ / "d" / ".git").string()})), Documents{"a"}) << "named by the user";
  expect_error(ErrorKind::data, {"3 hidden"}, [&] {
    std::filesystem::remove_all(folder_ / "d" / "sub");
    std::filesystem::remove(folder_ / "d" / "with space.JSONL");
    corpus_files({(folder_ / "d").string()});
  });
}

TEST_F(CorpusTest, APipeIsReadOnceAndKept) {
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "one\n<|endoftext|>\ntwo\n"; });
  EXPECT_EQ(documents_of(from({pipe})), (Documents{"one", "two"}));
  writer.join();
  EXPECT_EQ(documents_of(from({pipe})), (Documents{"one", "two"}));
}

}  // namespace
