#include "xinslm/cli/render.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <sstream>

#include "xinslm/core/machine.h"
#include "xinslm/core/utf8.h"

namespace xinslm::cli {
namespace {

std::string styled(std::string_view text, const char* style) {
  const char* no_color = std::getenv("NO_COLOR");
  if (!stdout_is_terminal() || (no_color != nullptr && *no_color != '\0')) return std::string(text);
  return std::string("\033[").append(style).append("m").append(text).append("\033[0m");
}

/// Characters, as a stand-in for columns: what tables hold has no wide ones.
size_t width(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(read_utf8(text).length);
  return count;
}

}  // namespace

bool stdin_is_terminal() {
  return ::isatty(STDIN_FILENO) != 0;
}
bool stdout_is_terminal() {
  return ::isatty(STDOUT_FILENO) != 0;
}
bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) != 0;
}

std::string bold(std::string_view text) {
  return styled(text, "1");
}
std::string faint(std::string_view text) {
  return styled(text, "2");
}

std::string fixed(double value, int decimals) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << value;
  return out.str();
}

std::string peak_memory_text() {
  return "peak memory " + fixed(static_cast<double>(peak_memory()) / (1 << 30), 2) + " GiB";
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const ptrdiff_t first = value < 0 ? 1 : 0;
  for (auto at = static_cast<ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string result;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string filling(widths[i] - width(row[i]), ' ');
      if (i > 0) line += "  ";
      line += i == 0 ? row[i] + filling : filling + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += (&row == rows_.data() ? bold(line) : line) + "\n";
  }
  return result;
}

}  // namespace xinslm::cli
