#include "xinslm/core/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

namespace xinslm {
namespace {

constexpr double terminal_seconds = 0.2;
constexpr int bar_width = 20;

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && kind != nullptr && std::string_view(kind) != "dumb";
}

int columns() {
  struct winsize size {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string bar(double share) {
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * bar_width);
  char percent[16];
  std::snprintf(percent, sizeof percent, "%3d%% ", static_cast<int>(std::clamp(share, 0.0, 1.0) * 100));
  return "[" + std::string(full, '=') + std::string(bar_width - full, ' ') + "] " + percent;
}

/// When the last plain line was written: jobs that follow each other share the lines of a minute.
std::optional<std::chrono::steady_clock::time_point>& last_plain_line() {
  static std::optional<std::chrono::steady_clock::time_point> time;
  return time;
}

std::chrono::steady_clock::duration span(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const long long whole = std::llround(std::max(0.0, seconds));
  char text[32];
  if (whole < 60) {
    std::snprintf(text, sizeof text, "%lld s", whole);
  } else if (whole < 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return text;
}

ProgressLine::ProgressLine(double plain_seconds)
    : next_(std::chrono::steady_clock::now()), plain_seconds_(plain_seconds), terminal_(is_terminal()) {}

ProgressLine::~ProgressLine() {
  clear();
}

void ProgressLine::update(double share, const std::function<std::string()>& text) {
  const auto now = std::chrono::steady_clock::now();
  if (terminal_) {
    if (now < next_) return;
    next_ = now + span(terminal_seconds);
  } else {
    if (last_plain_line() && now < *last_plain_line() + span(plain_seconds_)) return;
    last_plain_line() = now;
  }
  std::string line = (share >= 0 ? bar(share) : "") + text();
  if (terminal_) {
    // A line that wraps could not be taken back.
    line.resize(std::min(line.size(), static_cast<size_t>(std::max(1, columns() - 1))));
    line = "\r" + line + "\x1b[K";
    shown_ = true;
  } else {
    line += "\n";
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_ = false;
  next_ = std::chrono::steady_clock::now();
}

}  // namespace xinslm
