#ifdef __linux__
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string_view>
#endif

#include "xinslm/cli/command.h"

#ifdef __linux__
namespace {

/// Without a working folder LibTorch's MKL ends the program with words of its own while libraries start, which is
/// before main(); functions of this section run before any library's.
void require_working_folder() {
  char folder[PATH_MAX];
  if (::getcwd(folder, sizeof folder) != nullptr || errno != ENOENT) return;
  constexpr std::string_view message = "error: the working folder is gone; change into one that is there: cd DIR\n";
  (void)!::write(STDERR_FILENO, message.data(), message.size());
  ::_exit(3);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)() = require_working_folder;

}  // namespace
#endif

int main(int argc, char** argv) {
  return xinslm::cli::run(argc, argv);
}
