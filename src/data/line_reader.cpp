#include "line_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "xinslm/core/error.h"

namespace xinslm {

constexpr size_t kReadBytes = 1 << 18;

LineReader::LineReader(const std::filesystem::path& path) : path_(path), file_(nullptr, &::gzclose) {
  if (std::filesystem::is_directory(path)) data_error(path.string(), ": is a folder, expected a file");
  file_.reset(::gzopen(path.c_str(), "rb"));  // passes plain files through
  if (!file_) data_error(path.string(), ": cannot open: ", std::strerror(errno));
  ::gzbuffer(file_.get(), kReadBytes);
}

bool LineReader::fill() {
  if (at_end_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + kReadBytes);
  const int count = ::gzread(file_.get(), buffer_.data() + old, kReadBytes);
  int code = Z_OK;
  const char* message = ::gzerror(file_.get(), &code);
  // A file cut off in the middle gives its last bytes first and says so only here.
  if (count < 0 || (code != Z_OK && code != Z_STREAM_END)) {
    data_error(path_.string(), ": cannot read: ", code == Z_ERRNO ? std::strerror(errno) : message,
               code == Z_BUF_ERROR ? " (the gzip file is cut off; get it again)" : "");
  }
  buffer_.resize(old + static_cast<size_t>(count));
  at_end_ = count == 0;
  return !at_end_;
}

bool LineReader::next(Piece& piece, size_t limit) {
  size_t searched = 0, end = std::string::npos;
  // One byte more than the limit, so that a line break right after it is seen.
  do {
    const std::string_view rest = std::string_view(buffer_).substr(begin_);
    end = rest.substr(0, limit + 2).find('\n', searched);
    searched = std::min(rest.size(), limit + 2);
  } while (end == std::string::npos && searched < limit + 2 && fill());
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (rest.empty()) return false;
  if (line_ended_) ++line_;
  piece.line = line_;
  if (end == std::string::npos) {
    piece.text = rest.substr(0, limit);
    piece.line_break = {};
    piece.ends_line = at_end_ && rest.size() <= limit;
    begin_ += piece.text.size();
  } else {
    const size_t width = end > 0 && rest[end - 1] == '\r' ? 2 : 1;
    piece.text = rest.substr(0, end + 1 - width);
    piece.line_break = rest.substr(end + 1 - width, width);
    piece.ends_line = true;
    begin_ += end + 1;
  }
  line_ended_ = piece.ends_line;
  return true;
}

}  // namespace xinslm
