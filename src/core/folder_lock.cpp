#include "xinslm/core/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __APPLE__
#include <crt_externs.h>
#endif

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "core/partial.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/log.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

std::string command_line() {
  std::string line;
#ifdef __APPLE__
  for (int i = 0; i < *_NSGetArgc(); ++i) line += cat(i > 0 ? " " : "", (*_NSGetArgv())[i]);
#else
  line = read_file("/proc/self/cmdline");
  while (line.ends_with('\0')) line.pop_back();
  std::replace(line.begin(), line.end(), '\0', ' ');
#endif
  return line;
}

std::string this_process() {
  char host[256] = "?";
  ::gethostname(host, sizeof host - 1);
  return cat("process ", ::getpid(), " on ", host, ": ", command_line(), "\n");
}

std::string holder(const fs::path& file) {
  std::string text = read_file(file);
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "another process" : text;
}

/// Makes the folder. @return those that were missing, the innermost first
std::vector<fs::path> make_folder(const fs::path& folder) {
  std::vector<fs::path> missing;
  for (fs::path part = folder; !part.empty() && !path_exists(part); part = part.parent_path()) missing.push_back(part);
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) data_error(folder.string(), ": cannot create the folder: ", system_reason(failure.value()));
  return missing;
}

}  // namespace

struct FolderLock::State {
  fs::path file;
  std::vector<fs::path> made;
  Descriptor held;

  /// False when the file was deleted by an earlier holder while this one waited.
  bool take(const fs::path& folder) {
    held = Descriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!held.open()) data_error(file.string(), ": cannot write: ", last_reason());
    if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        usage_error(folder.string(), ": is in use by ", holder(file), "; wait for its end, or give another folder");
      }
      log::warning(cat(folder.string(), ": this disk knows no locks; see to it that no other run uses the folder"));
      return true;
    }
    struct stat mine {
    }, named{};
    return ::fstat(held.get(), &mine) == 0 && ::stat(file.c_str(), &named) == 0 && mine.st_ino == named.st_ino;
  }
};

FolderLock::FolderLock(const fs::path& folder) : state_(std::make_unique<State>()) {
  const fs::path real = settled(folder);
  state_->file = real / file_name;
  state_->made = make_folder(real);
  while (!state_->take(folder)) {
  }
  const std::string text = this_process();
  if (::ftruncate(state_->held.get(), 0) != 0 ||
      ::pwrite(state_->held.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    data_error(state_->file.string(), ": cannot write: ", last_reason());
  }
}

FolderLock::~FolderLock() {
  std::error_code ignored;
  fs::remove(state_->file, ignored);
  for (const fs::path& folder : state_->made) fs::remove(folder, ignored);  // which fails for those in use
}

}  // namespace xinslm
