#include "xinslm/generate/stop_text.h"

#include <algorithm>
#include <utility>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

/// Length of the longest end of `text` that begins `stop` without being all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  if (std::ranges::find(stops_, "") != stops_.end()) usage_error("a stop text is empty; give at least one character");
}

std::string StopText::push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, "");
  }
  size_t open = 0;
  for (const std::string& stop : stops_) open = std::max(open, begun(held_, stop));
  std::string certain = held_.substr(0, held_.size() - open);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopText::finish() {
  return std::exchange(held_, "");
}

}  // namespace xinslm
