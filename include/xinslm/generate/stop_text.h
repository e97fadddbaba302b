#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace xinslm {

/// Watches text as it comes for the first of several stop texts. Text that may still turn out to begin one is held
/// back, so nothing of a stop text is ever shown.
class StopText {
 public:
  /// @throws Error(usage) for an empty stop text
  explicit StopText(std::vector<std::string> stops);

  /// @return the text that is certain to stand before any stop text
  std::string push(std::string_view text);
  /// What was held back when the stream ends without a stop text.
  std::string finish();
  /// True once a stop text was seen; later text is dropped.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace xinslm
