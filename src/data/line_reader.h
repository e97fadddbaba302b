#pragma once
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace xinslm {

/// Reads a plain or gzip file of UTF-8 text line by line in bounded memory, without the mark that some editors put in
/// front of it.
class LineReader {
 public:
  /// @throws Error(data)
  explicit LineReader(const std::filesystem::path& path);

  /// A stretch of a line without its line break. A line longer than `limit` bytes comes in several pieces; `ends_line`
  /// tells that this is the last. `line_break` is what ended it: "\n", "\r\n" or, at the end of the file, nothing.
  struct Piece {
    std::string_view text;  ///< lives until the next call
    std::string_view line_break;
    bool ends_line = true;
    int64_t line = 0;  ///< from 1
  };
  /// False at the end of the file. @throws Error(data) for damaged gzip files and for what is no text
  bool next(Piece& piece, size_t limit);

  const std::filesystem::path& path() const { return path_; }

 private:
  bool fill();
  void check_text(std::string_view bytes) const;

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::string buffer_;
  size_t begin_ = 0;
  bool at_end_ = false, line_ended_ = true;
  int64_t line_ = 0, bytes_ = 0;  // bytes_ read so far
};

}  // namespace xinslm
