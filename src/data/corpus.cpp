#include "xinslm/data/corpus.h"

#include <utility>

#include "document_readers.h"
#include "xinslm/core/error.h"
#include "xinslm/data/builtin_corpus.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// The documents of files one after the other.
class FilesReader : public DocumentReader {
 public:
  explicit FilesReader(const CorpusOptions& options) : options_(options), files_(corpus_files(options.inputs)) {}

  bool next(DocumentPart& part) override {
    while (true) {
      if (current_ && current_->next(part)) return true;
      if (opened_ == files_.size()) return false;
      const fs::path& path = files_[opened_++];
      current_ = holds_json_lines(path, options_.format)
                     ? read_json_lines(path, options_.skip_bad_lines ? &bad_ : nullptr)
                     : read_text_file(path, options_.separator, options_.line_end);
    }
  }
  BadLines bad_lines() const override { return bad_; }

 private:
  CorpusOptions options_;
  std::vector<fs::path> files_;
  std::unique_ptr<DocumentReader> current_;
  BadLines bad_;
  size_t opened_ = 0;
};

class BuiltinReader : public DocumentReader {
 public:
  BuiltinReader(int64_t documents, uint64_t seed) : documents_(documents), seed_(seed) {}

  bool next(DocumentPart& part) override {
    if (next_ == documents_) return false;
    part = {builtin_story(seed_, next_).text, {}, true, cat("builtin story ", next_)};
    ++next_;
    return true;
  }

 private:
  int64_t documents_, next_ = 0;
  uint64_t seed_;
};

/// Ends a corpus after so many bytes; the document that would pass the limit is cut there.
class LimitedReader : public DocumentReader {
 public:
  LimitedReader(std::unique_ptr<DocumentReader> reader, size_t bytes) : reader_(std::move(reader)), left_(bytes) {}

  bool next(DocumentPart& part) override {
    if (left_ == 0 || !reader_->next(part)) return false;
    if (part.size() >= left_) {
      // Whole dialogues only: half of one would teach the wrong thing.
      if (!part.messages.empty() && part.size() > left_) return false;
      part.text.resize(cut_point(part.text, left_));
      part.last = true;
      left_ = 0;
      return part.size() > 0;
    }
    left_ -= part.size();
    return true;
  }
  BadLines bad_lines() const override { return reader_->bad_lines(); }

 private:
  std::unique_ptr<DocumentReader> reader_;
  size_t left_;
};

CorpusOptions corpus_from(const Settings& settings) {
  CorpusOptions options;
  options.format = settings.data.format;
  options.separator = settings.data.separator;
  options.line_end = settings.data.line_end;
  options.skip_bad_lines = settings.data.skip_bad_lines;
  options.builtin_documents = settings.data.builtin_documents;
  options.builtin_seed = static_cast<uint64_t>(settings.training.seed);
  return options;
}

}  // namespace

bool holds_json_lines(const fs::path& path, const std::string& format) {
  if (format != "auto") return format == "jsonl";
  const std::string ending = text_ending(path);
  if (ending == ".jsonl" || ending == ".ndjson" || ending == ".json") return true;
  if (ending == ".txt") return false;
  LineReader lines(path);
  for (LineReader::Piece piece; lines.next(piece, kPartBytes);) {
    if (!is_blank(piece.text)) return piece.text[piece.text.find_first_not_of(" \t\r")] == '{';
  }
  return false;
}

void BadLines::add(const std::string& problem) {
  constexpr size_t shown = 5;
  if (++count <= static_cast<int64_t>(shown)) first.push_back(problem);
}

std::string BadLines::text() const {
  if (count == 0) return "";
  std::string text =
      cat(count, count == 1 ? " line that cannot be read was left out:" : " lines that cannot be read were left out:");
  for (const std::string& problem : first) text += "\n  " + problem;
  const auto more = count - static_cast<int64_t>(first.size());
  return more > 0 ? cat(text, "\n  and ", more, " more") : text;
}

size_t DocumentPart::size() const {
  size_t total = text.size();
  for (const ChatMessage& message : messages) total += message.content.size();
  return total;
}

CorpusOptions training_corpus(const Settings& settings) {
  CorpusOptions options = corpus_from(settings);
  options.inputs = settings.data.train;
  options.max_bytes = settings.data.max_bytes;
  if (options.inputs.empty()) usage_error("data.train is empty; name files, folders, - or builtin");
  return options;
}

CorpusOptions validation_corpus(const Settings& settings) {
  CorpusOptions options = corpus_from(settings);
  options.inputs = settings.data.validation;
  if (options.is_builtin()) {
    usage_error("data.validation: builtin stories are held out of builtin training stories by data.validation_share");
  }
  return options;
}

std::unique_ptr<DocumentReader> open_corpus(const CorpusOptions& options) {
  std::unique_ptr<DocumentReader> reader;
  if (options.is_builtin()) {
    reader = std::make_unique<BuiltinReader>(options.builtin_documents, options.builtin_seed);
  } else {
    reader = std::make_unique<FilesReader>(options);
  }
  if (options.max_bytes > 0) {
    reader = std::make_unique<LimitedReader>(std::move(reader), static_cast<size_t>(options.max_bytes));
  }
  return reader;
}

}  // namespace xinslm
