#pragma once
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace xinslm {

/// A whole file read through a read-only memory map; pages are loaded when touched. Movable, not copyable.
class MappedFile {
 public:
  MappedFile() = default;
  /// @throws Error(data) when the file is missing or cannot be mapped. An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A file that appears under its name whole or not at all: written beside it, flushed to disk, renamed by commit().
/// Dropped without commit(), nothing is left behind.
class AtomicFile {
 public:
  /// @throws Error(data) when the folder cannot be written
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  ~AtomicFile();

  std::ostream& stream() { return stream_; }
  /// @throws Error(data) on a write that failed, for example a full disk; the old file is then untouched
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  std::ofstream stream_;
};

/// A folder that appears whole or not at all. Fill path(), then commit() flushes every file, moves an existing target
/// aside, renames into place and deletes the old one.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(const std::filesystem::path& target);
  AtomicDirectory(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
};

/// The whole file as a string. @throws Error(data) when it cannot be read
std::string read_file(const std::filesystem::path& path);

/// Writes the whole file atomically. @throws Error(data)
void write_file(const std::filesystem::path& path, std::string_view content);

/// Points the symbolic link at the target (relative names stay relative), replacing an old link in one step.
void replace_symlink(const std::filesystem::path& link, const std::filesystem::path& target);

}  // namespace xinslm
