#include "core/partial.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr std::string_view partial_mark = ".partial-", aside_mark = ".replaced-";
constexpr size_t digits = 16, longest_name = 255;

/// The name before the mark and its digits; nothing when it has none.
std::string_view before_mark(std::string_view name, std::string_view mark) {
  if (name.size() <= mark.size() + digits) return {};
  const size_t end = name.size() - digits;
  if (name.find_first_not_of("0123456789abcdef", end) != std::string_view::npos) return {};
  return name.substr(0, end).ends_with(mark) ? name.substr(0, end - mark.size()) : std::string_view();
}

std::string random_digits() {
  std::random_device device;
  char text[digits + 1];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

fs::path marked(const fs::path& target, std::string_view mark, size_t longest) {
  std::string name = target.filename().string();
  size_t end = std::min(name.size(), longest - mark.size() - digits);
  while (end < name.size() && end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // whole UTF-8
  return target.parent_path() / cat(name.substr(0, end), mark, random_digits());
}

/// Does the name still stand for the open file?
bool is_named(const Descriptor& open, const fs::path& path) {
  struct stat held {
  }, named{};
  return ::fstat(open.get(), &held) == 0 && ::lstat(path.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

/// Takes the lock of a file or folder whose process is no more; not open when it lives, or where nobody can tell.
Descriptor take_over(const fs::path& path) {
  Descriptor open(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (open.open() && ::flock(open.get(), LOCK_EX | LOCK_NB) == 0) return open;
  return {};
}

void tidy_one(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string_view replaced = before_mark(name, aside_mark);
  const Descriptor lock = take_over(path);
  if (!lock.open()) return;
  std::error_code ignored;
  const fs::path target = path.parent_path() / replaced;
  if (!replaced.empty() && !fs::exists(fs::symlink_status(target, ignored))) {
    fs::rename(path, target, ignored);
  } else {
    fs::remove_all(path, ignored);
  }
}

}  // namespace

Partial::Partial(const fs::path& target, Kind kind) {
  const fs::path folder = folder_of(target);
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) data_error(folder.string(), ": cannot create the folder: ", system_reason(failure.value()));
  tidy(folder);
  for (int attempt = 0; attempt < 100; ++attempt) {
    path_ = marked(target, partial_mark, longest_name);
    if (make(kind)) return;
    if (errno != EEXIST && errno != ENOENT) break;
  }
  data_error(target.string(), ": cannot write: ", last_reason());
}

/// False, with errno, when it cannot be made under this name, or when somebody took it for left over before the lock
/// was held.
bool Partial::make(Kind kind) {
  if (kind == Kind::folder) {
    if (::mkdir(path_.c_str(), 0777) != 0) return false;
    descriptor_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else {
    descriptor_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  }
  if (!descriptor_.open()) return false;
  if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0 && errno != EWOULDBLOCK)
    return true;  // no locks: never tidied
  if (is_named(descriptor_, path_)) return true;
  descriptor_.close();
  errno = EEXIST;
  return false;
}

Partial::~Partial() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void Partial::moved() {
  path_.clear();
  descriptor_.close();
}

fs::path aside_name(const fs::path& target) {
  return marked(target, aside_mark, SIZE_MAX);  // whole, to be put back under
}

bool is_partial_name(const std::string& name) {
  return !before_mark(name, partial_mark).empty() || !before_mark(name, aside_mark).empty();
}

void tidy(const fs::path& folder) {
  std::vector<fs::path> left;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (is_partial_name(entry->path().filename().string())) left.push_back(entry->path());
  }
  for (const fs::path& path : left) tidy_one(path);
}

fs::path settled(const fs::path& path) {
  fs::path plain = path;
  while (!plain.has_filename() && plain.has_relative_path()) plain = plain.parent_path();
  std::error_code failure;
  const fs::file_status status = fs::symlink_status(plain, failure);
  if (failure && status.type() != fs::file_type::not_found)
    data_error(path.string(), ": ", system_reason(failure.value()));
  const fs::path name = plain.filename();
  if (!fs::is_symlink(status) && name != "." && name != "..") return plain;
  // A link to nothing yet leads where it says.
  fs::path real = fs::is_symlink(status) && fs::status(plain, failure).type() == fs::file_type::not_found
                      ? fs::weakly_canonical(folder_of(plain) / fs::read_symlink(plain, failure), failure)
                      : fs::canonical(plain, failure);
  if (failure) data_error(path.string(), ": ", system_reason(failure.value()));
  return real;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void flush_to_disk(const fs::path& path) {
  const Descriptor open(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!open.open()) data_error(path.string(), ": cannot open for flushing: ", last_reason());
  if (::fsync(open.get()) != 0 && errno != EINVAL) data_error(path.string(), ": cannot flush to disk: ", last_reason());
}

std::string system_reason(int error) {
  std::string text = std::strerror(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return text + "; make room or choose another place";
    case EACCES:
    case EPERM:
      return text + "; you lack the rights";
    case EROFS:
      return text + "; choose another place";
    case ELOOP:
      return text + "; they lead in a circle";
    default:
      return text;
  }
}

std::string last_reason() {
  return system_reason(errno);
}

}  // namespace xinslm
