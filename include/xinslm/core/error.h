#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace xinslm {

/// What an error means for whoever called the program; the value is the exit code.
enum class ErrorKind {
  runtime = 1,  ///< anything else
  usage = 2,    ///< wrong options or configuration
  data = 3,     ///< a file that is missing, damaged or of the wrong kind
};

/// An error told to a person: what, where, what was expected, what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

/// Writes all parts one after the other into a string.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws Error(usage | data | runtime) with the parts joined.
template <class... Parts>
[[noreturn]] void usage_error(const Parts&... parts) {
  throw Error(ErrorKind::usage, cat(parts...));
}
template <class... Parts>
[[noreturn]] void data_error(const Parts&... parts) {
  throw Error(ErrorKind::data, cat(parts...));
}
template <class... Parts>
[[noreturn]] void runtime_failure(const Parts&... parts) {
  throw Error(ErrorKind::runtime, cat(parts...));
}

}  // namespace xinslm
