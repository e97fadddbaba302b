#pragma once
#include <memory>
#include <optional>
#include <string>

namespace xinslm::cli {

/// Lines from a person or a script. At a terminal with editing and history (libedit), else as they come.
class LineReader {
 public:
  LineReader();
  ~LineReader();

  /// The next line without its end, or nothing at the end of the input. Ctrl-C at a terminal drops what was typed and
  /// gives an empty line; elsewhere it ends the input.
  /// @param prompt  shown at a terminal only
  std::optional<std::string> read(const std::string& prompt);

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;  // nullptr when standard input or output is not a terminal
};

}  // namespace xinslm::cli
