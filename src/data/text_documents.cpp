#include <cctype>
#include <utility>

#include "document_readers.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

bool is_space(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}

std::string_view without_trailing_blanks(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

class TextFileReader : public DocumentReader {
 public:
  TextFileReader(const std::filesystem::path& path, const std::string& separator, const std::string& line_end)
      : lines_(path), separator_(separator), line_end_(line_end) {}

  bool next(DocumentPart& part) override {
    while (true) {
      while (text_.size() <= kPartBytes && !document_ended_ && !file_ended_) read_line();
      if (text_.size() > kPartBytes) {
        take(part, cut_point(text_, kPartBytes));
        part.last = false;
        return true;
      }
      held_.clear();
      const bool more = std::exchange(document_ended_, false);
      if (started_ || !without_trailing_blanks(text_).empty()) {
        take(part, text_.size());
        part.last = true;
        started_ = false;
        return true;
      }
      text_.clear();  // a document of blanks alone is left out
      if (!more) return false;
    }
  }

 private:
  /// Documents between separators lose the line breaks around them; whole files and replaced line ends stay complete.
  bool trims() const { return !separator_.empty() && line_end_.empty(); }

  void read_line() {
    LineReader::Piece piece;
    if (!lines_.next(piece, kPartBytes)) {
      file_ended_ = true;
      return;
    }
    const bool whole_line = piece.ends_line && !inside_line_;
    inside_line_ = !piece.ends_line;
    if (whole_line && !separator_.empty() && without_trailing_blanks(piece.text) == separator_) {
      document_ended_ = true;
      return;
    }
    if (started_ || !text_.empty() || !piece.text.empty() || !trims()) append(piece);
  }

  void append(const LineReader::Piece& piece) {
    if (text_.empty() && !started_ && held_.empty()) line_ = piece.line;
    if (!piece.text.empty()) {
      text_ += held_;
      held_.clear();
      text_ += piece.text;
    }
    std::string_view line_break = piece.line_break;
    if (!line_end_.empty() && piece.ends_line) line_break = line_end_;
    (trims() ? held_ : text_) += line_break;
    if (held_.size() > kPartBytes) text_ += held_, held_.clear();
  }

  void take(DocumentPart& part, size_t size) {
    part.text.assign(text_, 0, size);
    part.messages.clear();
    part.where = cat(lines_.path().string(), ":", line_);
    text_.erase(0, size);
    started_ = true;
  }

  LineReader lines_;
  std::string separator_, line_end_;
  std::string text_;  ///< of the document, not yet given away
  std::string held_;  ///< line breaks that count only if text follows
  int64_t line_ = 1;
  bool started_ = false, inside_line_ = false, document_ended_ = false, file_ended_ = false;
};

}  // namespace

bool is_blank(std::string_view text) {
  return without_trailing_blanks(text).empty();
}

size_t cut_point(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  for (size_t at = limit; at > limit / 2; --at) {
    if (text[at] == ' ' && !is_space(text[at - 1])) return at;
  }
  for (size_t at = limit; at > 0 && limit - at < 4; --at) {
    if ((static_cast<unsigned char>(text[at]) & 0xc0) != 0x80) return at;  // a character starts here
  }
  return limit;  // not UTF-8
}

std::unique_ptr<DocumentReader> read_text_file(const std::filesystem::path& path, const std::string& separator,
                                               const std::string& line_end) {
  return std::make_unique<TextFileReader>(path, separator, line_end);
}

}  // namespace xinslm
