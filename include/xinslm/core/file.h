#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
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

class Partial;

/// A file that appears under its name whole or not at all: written beside it, flushed to disk, renamed by commit().
/// Dropped without commit(), nothing is left behind; what a killed process leaves, the next one deletes that writes in
/// the same folder. A link is followed; what is no plain file, such as /dev/stdout, is written to as it is.
class AtomicFile {
 public:
  /// @throws Error(data) when the folder cannot be written
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  ~AtomicFile();

  /// @throws Error(data) as soon as the disk is full; the old file is then untouched
  void write(std::string_view bytes);
  void write(const void* bytes, size_t size) { write({static_cast<const char*>(bytes), size}); }
  /// Writes over the file's first bytes.
  void rewrite_start(const void* bytes, size_t size);
  /// @throws Error(data)
  void commit();

 private:
  void put(std::string_view bytes);
  void flush();

  std::filesystem::path path_, target_;
  std::unique_ptr<Partial> partial_;  // none for what is no plain file
  int descriptor_ = -1;
  std::string buffer_;
};

/// A folder that appears whole or not at all. Fill path(), then commit() flushes every file and takes the place of the
/// target in one step, so that a folder is there at each moment.
class AtomicDirectory {
 public:
  /// @param replaces  a target that is there already, and not empty, is replaced; else commit() refuses
  explicit AtomicDirectory(const std::filesystem::path& target, bool replaces = false);
  AtomicDirectory(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  /// Where it is filled, until commit().
  const std::filesystem::path& path() const;
  /// @throws Error(data); the old folder is then where it was
  void commit();

 private:
  std::filesystem::path target_;
  bool replaces_;
  std::unique_ptr<Partial> partial_;
};

/// A file that grows line by line.
class AppendedFile {
 public:
  /// @throws Error(data) when it cannot be opened
  explicit AppendedFile(const std::filesystem::path& path);
  AppendedFile(const AppendedFile&) = delete;
  ~AppendedFile();
  /// @throws Error(data) when the disk is full
  void write(std::string_view bytes);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// The whole file as a string. @throws Error(data) when it cannot be read, Error(runtime) when memory does not hold it
std::string read_file(const std::filesystem::path& path);
/// The same of standard input.
std::string read_standard_input();

/// Writes the whole file atomically. @throws Error(data)
void write_file(const std::filesystem::path& path, std::string_view content);

/// Copies a plain file. @throws Error(data)
void copy_plain_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Does the path lead anywhere? Never throws: for links in a circle and folders that may not be looked into it is no.
bool path_exists(const std::filesystem::path& path);

/// Is it a name under which this program writes what is not whole yet?
bool is_partial_name(const std::string& name);

/// What the system says of an error (errno), and what to do about it where that is known.
std::string system_reason(int error);

/// The folder for files that live as long as the program. @throws Error(data) when TMPDIR is none
std::filesystem::path temporary_folder();

/// Points the symbolic link at the target (relative names stay relative), replacing an old link in one step.
void replace_symlink(const std::filesystem::path& link, const std::filesystem::path& target);

}  // namespace xinslm
