#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include <cerrno>

#include "core/partial.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Exchanges two names in one step. False, with errno, where the system or the disk's format cannot.
bool exchange(const fs::path& one, const fs::path& other) {
#ifdef __APPLE__
  return ::renamex_np(one.c_str(), other.c_str(), RENAME_SWAP) == 0;
#else
  return ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0;
#endif
}

bool cannot_exchange(int error) {
  return error == EINVAL || error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP;
}

bool move(const fs::path& from, const fs::path& to) {
  return ::rename(from.c_str(), to.c_str()) == 0;
}

/// Where names cannot be exchanged: the old folder goes aside, and back if the new one cannot come. Killed in between,
/// the next process puts it back; the lock keeps it from doing so while this one lives. False, with errno.
bool replace_in_two_steps(const fs::path& fresh, const fs::path& target) {
  const fs::path aside = aside_name(target);
  const Descriptor lock(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.open()) ::flock(lock.get(), LOCK_EX | LOCK_NB);
  if (!move(target, aside)) return false;
  if (move(fresh, target)) {
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    return true;
  }
  const int failure = errno;
  move(aside, target);
  errno = failure;
  return false;
}

void flush_all(const fs::path& folder) {
  std::error_code failure;
  fs::recursive_directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) {
    if (!entry->is_symlink() && (entry->is_regular_file() || entry->is_directory())) flush_to_disk(entry->path());
  }
  if (failure) data_error(folder.string(), ": cannot read the folder: ", system_reason(failure.value()));
  flush_to_disk(folder);
}

}  // namespace

AtomicDirectory::AtomicDirectory(const fs::path& target, bool replaces)
    : target_(settled(target)),
      replaces_(replaces),
      partial_(std::make_unique<Partial>(target_, Partial::Kind::folder)) {}

AtomicDirectory::~AtomicDirectory() = default;

const fs::path& AtomicDirectory::path() const {
  return partial_->path();
}

void AtomicDirectory::commit() {
  flush_all(path());
  // Takes the place of nothing, or of an empty folder.
  bool done = move(path(), target_);
  if (!done && (errno == ENOTEMPTY || errno == EEXIST)) {
    if (!replaces_) data_error(target_.string(), ": has appeared in the meantime, and is not replaced");
    done = exchange(path(), target_);
    if (done) {
      flush_to_disk(folder_of(target_));
      return partial_.reset();  // what it deletes is the old folder now
    }
    if (cannot_exchange(errno)) done = replace_in_two_steps(path(), target_);
  }
  if (!done) data_error(target_.string(), ": cannot move into place: ", last_reason());
  partial_->moved();
  flush_to_disk(folder_of(target_));
}

void replace_symlink(const fs::path& link, const fs::path& target) {
  // Made in a folder of its own, since a link can hold no lock that says whether its maker lives.
  const Partial partial(link, Partial::Kind::folder);
  const fs::path made = partial.path() / "link";
  std::error_code failure;
  fs::create_symlink(target, made, failure);
  if (!failure) fs::rename(made, link, failure);
  if (failure) {
    data_error(link.string(), ": cannot point the link at ", target.string(), ": ", system_reason(failure.value()));
  }
}

}  // namespace xinslm
