#pragma once
#include <chrono>
#include <functional>
#include <string>

namespace xinslm {

/// "45 s", "12:05" (minutes:seconds) or "3:07:00" (hours).
std::string duration_text(double seconds);

/// Tells on standard error how far a long job is: one line rewritten in place on a terminal, elsewhere a plain line a
/// minute, however many jobs follow each other.
class ProgressLine {
 public:
  /// @param plain_seconds  time between plain lines when standard error is not a terminal
  explicit ProgressLine(double plain_seconds = 60);
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine();

  /// Shows the state if the last one is old enough; text is only called then.
  /// @param share  of the job that is done, in [0, 1]; negative = unknown, then there is no bar
  void update(double share, const std::function<std::string()>& text);

  /// Takes the line off the terminal, for something else to be written. The next update shows it again.
  void clear();

 private:
  std::chrono::steady_clock::time_point next_;
  double plain_seconds_;
  bool terminal_;
  bool shown_ = false;
};

}  // namespace xinslm
