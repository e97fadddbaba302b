#include "line_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "xinslm/core/error.h"
#include "xinslm/core/utf8.h"

namespace xinslm {

namespace {

constexpr size_t kReadBytes = 1 << 18;
constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";

bool is_named_gzip(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".gz" || ending == ".GZ";
}

/// UTF-16 or UTF-32 by the mark in front or by where the NUL bytes stand that ASCII characters have there; "" for
/// anything else.
std::string wide_encoding(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv)) return "UTF-16";
  const std::string_view looked_at = bytes.substr(0, std::min<size_t>(bytes.size(), 4096) / 4 * 4);
  if (looked_at.size() < 4) return "";
  size_t nul[4] = {};
  for (size_t i = 0; i < looked_at.size(); ++i) nul[i % 4] += looked_at[i] == '\0';
  const auto mostly = [&](size_t place) { return nul[place] * 4 > looked_at.size() / 4 * 3; };
  const auto never = [&](size_t place) { return nul[place] == 0; };
  if (mostly(1) && mostly(2) && mostly(3) && never(0)) return "UTF-32LE";
  if (mostly(0) && mostly(1) && mostly(2) && never(3)) return "UTF-32BE";
  if (mostly(1) && mostly(3) && never(0) && never(2)) return "UTF-16LE";
  if (mostly(0) && mostly(2) && never(1) && never(3)) return "UTF-16BE";
  return "";
}

}  // namespace

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
  if (bytes_ == 0 && ::gzdirect(file_.get()) != 0 && is_named_gzip(path_)) {
    data_error(path_.string(), ": is not a gzip file, though its name says so; get it again or rename it");
  }
  if (at_end_) return false;
  check_text(std::string_view(buffer_).substr(old));
  if (bytes_ == 0 && buffer_.starts_with(utf8_mark)) begin_ = utf8_mark.size();
  bytes_ += count;
  return true;
}

/// Of the bytes read last. The first of them show the encoding; NUL bytes are no text anywhere.
void LineReader::check_text(std::string_view bytes) const {
  const auto refuse = [this](const auto&... why) { data_error(path_.string(), ": ", why...); };
  if (bytes_ > 0) {
    const size_t nul = bytes.find('\0');
    if (nul != std::string_view::npos)
      refuse("holds a NUL byte at byte ", bytes_ + static_cast<int64_t>(nul),
             ", which no text does; give a file of text");
    return;
  }
  if (const std::string encoding = wide_encoding(bytes); !encoding.empty()) {
    refuse("is ", encoding, " text, expected UTF-8; convert it: iconv -f ", encoding, " -t UTF-8 FILE > NEWFILE");
  }
  if (const std::string problem = describe_binary(bytes); !problem.empty()) {
    refuse(problem, "; expected UTF-8 text (another encoding can be converted: iconv -f WINDOWS-1251 -t UTF-8 FILE > ",
           "NEWFILE)");
  }
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
