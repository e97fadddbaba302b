// Preloaded into the program under test: counts its calls that change files, and at one of them kills it, has the disk
// full from then on, or lets names not be exchanged.
//   FAULT_KILL_AT=N      SIGKILL in place of the N-th such call
//   FAULT_FULL_AT=N      from the N-th on nothing more can be written or made
//   FAULT_NO_EXCHANGE=1  as on disks whose format cannot exchange two names
//   FAULT_COUNT=FILE     the number of calls, written when the program ends
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace {

std::atomic<long> calls{0};

long number(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? 0 : atol(text);
}

/// Before each call that changes files. False: the disk is full.
bool may_go_on() {
  static const long kill_at = number("FAULT_KILL_AT"), full_at = number("FAULT_FULL_AT");
  const long call = ++calls;
  if (call == kill_at) kill(getpid(), SIGKILL);
  if (full_at == 0 || call < full_at) return true;
  errno = ENOSPC;
  return false;
}

bool is_plain_file(int descriptor) {
  struct stat info;
  return descriptor > 2 && fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

struct AtEnd {
  ~AtEnd() {
    const char* file = getenv("FAULT_COUNT");
    if (file == nullptr) return;
    char text[32];
    const int length = snprintf(text, sizeof text, "%ld\n", calls.load());
    const int descriptor = next<int(const char*, int, mode_t)>("open")(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    (void)!next<ssize_t(int, const void*, size_t)>("write")(descriptor, text, static_cast<size_t>(length));
    close(descriptor);
  }
} at_end;

}  // namespace

#define OPEN(name)                                                        \
  int name(const char* path, int flags, ...) {                            \
    va_list arguments;                                                    \
    va_start(arguments, flags);                                           \
    const mode_t mode = mode_of(flags, arguments);                        \
    va_end(arguments);                                                    \
    if ((flags & O_CREAT) != 0 && !may_go_on()) return -1;                \
    return next<int(const char*, int, mode_t)>(#name)(path, flags, mode); \
  }

#define CALL(result, name, parameters, arguments, failure) \
  result name parameters {                                 \
    if (!may_go_on()) return failure;                      \
    return next<result parameters>(#name) arguments;       \
  }

/// What frees room works on a full disk, too.
#define FREEING_CALL(name, parameters, arguments) \
  int name parameters {                           \
    may_go_on();                                  \
    return next<int parameters>(#name) arguments; \
  }

extern "C" {

OPEN(open)
OPEN(open64)

CALL(int, mkdir, (const char* path, mode_t mode) noexcept, (path, mode), -1)
CALL(int, symlink, (const char* target, const char* path) noexcept, (target, path), -1)
CALL(int, fsync, (int descriptor), (descriptor), -1)
FREEING_CALL(rename, (const char* from, const char* to) noexcept, (from, to))
FREEING_CALL(remove, (const char* path) noexcept, (path))
FREEING_CALL(unlink, (const char* path) noexcept, (path))
FREEING_CALL(unlinkat, (int folder, const char* path, int flags) noexcept, (folder, path, flags))
FREEING_CALL(rmdir, (const char* path) noexcept, (path))

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  may_go_on();
  if (number("FAULT_NO_EXCHANGE") != 0 && flags != 0) {
    errno = EINVAL;
    return -1;
  }
  using Function = int(int, const char*, int, const char*, unsigned);
  return next<Function>("renameat2")(from_folder, from, to_folder, to, flags);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  if (is_plain_file(descriptor) && !may_go_on()) return -1;
  return next<ssize_t(int, const void*, size_t)>("write")(descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  if (is_plain_file(descriptor) && !may_go_on()) return -1;
  return next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
  if (is_plain_file(descriptor) && !may_go_on()) return -1;
  return next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(descriptor, bytes, size, offset);
}

}  // extern "C"
