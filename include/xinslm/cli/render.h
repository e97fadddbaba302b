#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace xinslm::cli {

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

/// Terminal styles; plain text where standard output is not a terminal or NO_COLOR is set (no-color.org).
std::string bold(std::string_view text);
std::string faint(std::string_view text);

/// A number with so many decimals; "nan" and "inf" where it is none.
std::string fixed(double value, int decimals);
/// Whole numbers in groups of three: 1,234,567.
std::string grouped(int64_t value);

/// "peak memory 1.25 GiB": the most this process has held so far.
std::string peak_memory_text();

/// A table whose columns line up: first column to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Lines with an end of line each; the header is bold on terminals.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace xinslm::cli
