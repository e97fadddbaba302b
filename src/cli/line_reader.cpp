#include "cli/line_reader.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"

namespace xinslm::cli {

struct LineReader::Editor {
  Editor();
  ~Editor();
  std::optional<std::string> read();

  static Editor& of(EditLine* line);
  static char* show_prompt(EditLine* line) { return of(line).prompt.data(); }
  static unsigned char drop_line(EditLine* line, int);

  EditLine* line = nullptr;
  History* history = nullptr;
  std::string prompt;
  bool dropped = false;
};

LineReader::Editor::Editor() {
  // Without a locale that knows UTF-8 the editor takes every byte for a character.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  line = ::el_init("xinslm", stdin, stdout, stderr);
  history = ::history_init();
  if (line == nullptr || history == nullptr) runtime_failure("cannot set the terminal up for line editing");
  HistEvent event;
  ::history(history, &event, H_SETSIZE, 1000);
  ::history(history, &event, H_SETUNIQUE, 1);
  ::el_set(line, EL_CLIENTDATA, this);
  ::el_set(line, EL_PROMPT, &Editor::show_prompt);
  ::el_set(line, EL_EDITOR, "emacs");
  ::el_set(line, EL_HIST, ::history, history);
  // Ctrl-C comes as a key, so that it drops the line and nothing else.
  ::el_set(line, EL_SETTY, "-d", "-isig", nullptr);
  ::el_set(line, EL_ADDFN, "drop-line", "drops what was typed", &Editor::drop_line);
  ::el_set(line, EL_BIND, "^C", "drop-line", nullptr);
  ::el_source(line, nullptr);
}

LineReader::Editor::~Editor() {
  if (line != nullptr) ::el_end(line);
  if (history != nullptr) ::history_end(history);
}

LineReader::Editor& LineReader::Editor::of(EditLine* line) {
  void* self = nullptr;
  ::el_get(line, EL_CLIENTDATA, &self);
  return *static_cast<Editor*>(self);
}

unsigned char LineReader::Editor::drop_line(EditLine* line, int) {
  of(line).dropped = true;
  return CC_EOF;
}

std::optional<std::string> LineReader::Editor::read() {
  int count = 0;
  dropped = false;
  const char* typed = ::el_gets(line, &count);
  if (dropped) {
    ::el_reset(line);
    std::cout << "^C" << std::endl;
    return "";
  }
  if (typed == nullptr || count <= 0) {
    std::cout << std::endl;
    return std::nullopt;
  }
  std::string text(typed, static_cast<size_t>(count));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  HistEvent event;
  if (!text.empty()) ::history(history, &event, H_ENTER, text.c_str());
  return text;
}

LineReader::LineReader() {
  if (stdin_is_terminal() && stdout_is_terminal()) editor_ = std::make_unique<Editor>();
}

LineReader::~LineReader() = default;

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (editor_) {
    editor_->prompt = prompt;
    return editor_->read();
  }
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace xinslm::cli
