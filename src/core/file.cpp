#include "xinslm/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include "xinslm/core/error.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

std::string reason() {
  return std::strerror(errno);
}

fs::path beside(const fs::path& path) {
  return fs::path(path.string() + cat(".partial-", ::getpid()));
}

void create_parent(const fs::path& path) {
  std::error_code failure;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), failure);
  if (failure) data_error(path.parent_path().string(), ": cannot create the folder: ", failure.message());
}

void flush_to_disk(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  if (descriptor < 0) data_error(path.string(), ": cannot open for flushing: ", reason());
  const int status = ::fsync(descriptor);
  ::close(descriptor);
  if (status != 0) data_error(path.string(), ": cannot flush to disk: ", reason());
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) data_error(path.string(), ": cannot open: ", reason());
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    data_error(path.string(), ": is not a regular file");
  }
  size_ = static_cast<size_t>(info.st_size);
  void* mapped = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const std::string failure = mapped == MAP_FAILED ? reason() : "";
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

AtomicFile::AtomicFile(const fs::path& path) : path_(path), temporary_(beside(path)) {
  create_parent(path);
  stream_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!stream_) data_error(path.string(), ": cannot write: ", reason());
}

AtomicFile::~AtomicFile() {
  if (temporary_.empty()) return;
  stream_.close();
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  stream_.close();
  if (stream_.fail()) data_error(path_.string(), ": writing failed: ", reason(), "; the previous file is unchanged");
  flush_to_disk(temporary_);
  std::error_code failure;
  fs::rename(temporary_, path_, failure);
  if (failure) data_error(path_.string(), ": cannot move into place: ", failure.message());
  temporary_.clear();
  flush_to_disk(folder_of(path_));
}

AtomicDirectory::AtomicDirectory(const fs::path& target) : target_(target), temporary_(beside(target)) {
  create_parent(target);
  std::error_code failure;
  fs::remove_all(temporary_, failure);
  fs::create_directory(temporary_, failure);
  if (failure) data_error(target.string(), ": cannot create the folder: ", failure.message());
}

AtomicDirectory::~AtomicDirectory() {
  if (temporary_.empty()) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    if (entry.is_regular_file()) flush_to_disk(entry.path());
  }
  flush_to_disk(temporary_);
  const fs::path old = fs::path(temporary_.string() + ".old");
  std::error_code failure;
  const bool replaces = fs::exists(target_);
  if (replaces) fs::rename(target_, old, failure);
  if (!failure) fs::rename(temporary_, target_, failure);
  if (failure) data_error(target_.string(), ": cannot move into place: ", failure.message());
  temporary_.clear();
  flush_to_disk(folder_of(target_));
  if (replaces) fs::remove_all(old, failure);
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) data_error(path.string(), ": cannot open: ", reason());
  std::ostringstream content;
  content << in.rdbuf();
  if (in.bad() || fs::is_directory(path)) data_error(path.string(), ": cannot read: ", reason());
  return std::move(content).str();
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.stream().write(content.data(), static_cast<std::streamsize>(content.size()));
  file.commit();
}

void replace_symlink(const fs::path& link, const fs::path& target) {
  const fs::path temporary = beside(link);
  std::error_code failure;
  fs::remove(temporary, failure);
  fs::create_symlink(target, temporary, failure);
  if (!failure) fs::rename(temporary, link, failure);
  if (failure) data_error(link.string(), ": cannot point the link at ", target.string(), ": ", failure.message());
}

}  // namespace xinslm
