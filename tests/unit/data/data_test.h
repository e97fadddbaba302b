#pragma once
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "fake_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/log.h"
#include "xinslm/data/corpus.h"

namespace xinslm {

/// A test with a folder of its own.
class DataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log::set_level(log::Level::off);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    write_file(folder_ / name, content);
    return (folder_ / name).string();
  }
  std::string write_gzip(const std::string& name, const std::string& content) const {
    const std::string path = (folder_ / name).string();
    const gzFile file = ::gzopen(path.c_str(), "wb");
    ::gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    ::gzclose(file);
    return path;
  }

  static const ::testing::TestInfo& info() { return *::testing::UnitTest::GetInstance()->current_test_info(); }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / (std::string("xinslm_") + info().test_suite_name() + info().name());
};

/// The documents of a corpus put together from their parts; dialogues as "role: content|".
inline std::vector<std::string> documents_of(const CorpusOptions& options) {
  std::vector<std::string> documents;
  DocumentPart part;
  bool first = true;
  for (const auto reader = open_corpus(options); reader->next(part); first = part.last) {
    if (first) documents.emplace_back();
    documents.back() += part.text;
    for (const ChatMessage& message : part.messages) documents.back() += message.role + ": " + message.content + "|";
  }
  return documents;
}

/// Expects an Error of the kind whose message contains all of the words.
template <class F>
void expect_error(ErrorKind kind, const std::vector<std::string>& words, F&& f) {
  try {
    f();
    ADD_FAILURE() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " is not in: " << error.what();
    }
  }
}

}  // namespace xinslm
