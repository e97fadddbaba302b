#include "xinslm/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <utility>

#include "core/descriptor.h"
#include "core/partial.h"
#include "xinslm/core/error.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr size_t buffer_bytes = 1 << 18;
constexpr size_t call_bytes = 1 << 30;  // macOS takes no more than 2 GiB at once

/// False, with errno, when not all of it could be written.
bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), std::min(bytes.size(), call_bytes));
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

std::string read_all(int descriptor, const std::string& name, size_t expected) {
  std::string content;
  size_t size = 0;
  try {
    content.resize(expected + 1);  // one more, so that the end is seen at once
    while (true) {
      if (size == content.size()) content.resize(std::max(buffer_bytes, 2 * size));
      const ssize_t count = ::read(descriptor, content.data() + size, std::min(content.size() - size, call_bytes));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) data_error(name, ": cannot read: ", last_reason());
      if (count == 0) break;
      size += static_cast<size_t>(count);
    }
    content.resize(size);
    return content;
  } catch (const std::bad_alloc&) {
    runtime_failure(name, ": out of memory; its ", std::max(size, expected), " bytes or more do not fit");
  }
}

/// Something there that is not replaced but written to: a pipe, a terminal, /dev/null.
bool is_written_as_it_is(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) data_error(path.string(), ": cannot open: ", last_reason());
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    data_error(path.string(), ": is not a regular file");
  }
  size_ = static_cast<size_t>(info.st_size);
  void* mapped = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const std::string failure = mapped == MAP_FAILED ? last_reason() : "";
  ::close(descriptor);
  if (!failure.empty()) data_error(path.string(), ": cannot map into memory: ", failure);
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

AtomicFile::AtomicFile(const fs::path& path) : path_(path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) data_error(path.string(), ": is a folder, expected a file");
  if (is_written_as_it_is(path)) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) data_error(path.string(), ": cannot write: ", last_reason());
    return;
  }
  target_ = settled(path);
  partial_ = std::make_unique<Partial>(target_, Partial::Kind::file);
  descriptor_ = partial_->descriptor();
}

AtomicFile::~AtomicFile() {
  if (!partial_ && descriptor_ >= 0) ::close(descriptor_);
}

void AtomicFile::put(std::string_view bytes) {
  if (write_all(descriptor_, bytes)) return;
  data_error(path_.string(), ": writing failed: ", last_reason(), partial_ ? "; the previous file is unchanged" : "");
}

void AtomicFile::flush() {
  put(buffer_);
  buffer_.clear();
}

void AtomicFile::write(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > buffer_bytes) flush();
  if (bytes.size() > buffer_bytes) return put(bytes);
  buffer_ += bytes;
}

void AtomicFile::rewrite_start(const void* bytes, size_t size) {
  flush();
  if (::pwrite(descriptor_, bytes, size, 0) != static_cast<ssize_t>(size)) {
    data_error(path_.string(), ": writing failed: ", last_reason(), "; the previous file is unchanged");
  }
}

void AtomicFile::commit() {
  flush();
  if (!partial_) return;
  struct stat before {};
  if (::stat(target_.c_str(), &before) == 0) ::fchmod(descriptor_, before.st_mode & 07777);  // where disks know rights
  if (::fsync(descriptor_) != 0) {
    data_error(path_.string(), ": cannot flush to disk: ", last_reason(), "; the previous file is unchanged");
  }
  if (::rename(partial_->path().c_str(), target_.c_str()) != 0) {
    data_error(path_.string(), ": cannot move into place: ", last_reason());
  }
  partial_->moved();
  flush_to_disk(folder_of(target_));
}

AppendedFile::AppendedFile(const fs::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) data_error(path.string(), ": cannot write: ", last_reason());
}

AppendedFile::~AppendedFile() {
  ::close(descriptor_);
}

void AppendedFile::write(std::string_view bytes) {
  if (!write_all(descriptor_, bytes)) data_error(path_.string(), ": writing failed: ", last_reason());
}

std::string read_file(const fs::path& path) {
  const Descriptor open(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!open.open() || ::fstat(open.get(), &info) != 0) data_error(path.string(), ": cannot open: ", last_reason());
  if (S_ISDIR(info.st_mode)) data_error(path.string(), ": is a folder, expected a file");
  return read_all(open.get(), path.string(), S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) : 0);
}

std::string read_standard_input() {
  return read_all(STDIN_FILENO, "standard input", 0);
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void copy_plain_file(const fs::path& from, const fs::path& to) {
  std::error_code failure;
  fs::copy_file(from, to, failure);
  if (failure) data_error(to.string(), ": cannot copy ", from.string(), " here: ", system_reason(failure.value()));
}

bool path_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

fs::path temporary_folder() {
  std::error_code failure;
  const fs::path folder = fs::temp_directory_path(failure);
  if (!failure) return folder;
  const char* named = std::getenv("TMPDIR");
  data_error(named != nullptr ? named : "/tmp", ": cannot hold temporary files: ", system_reason(failure.value()),
             "; set TMPDIR to a folder that exists");
}

}  // namespace xinslm
