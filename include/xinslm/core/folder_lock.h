#pragma once
#include <filesystem>
#include <memory>

namespace xinslm {

/// Keeps a folder for one process: a lock on a file in it, which the system lets go when the process ends, however it
/// ends. The file names its holder. A folder that was missing is made, and gone again when nothing was put into it.
class FolderLock {
 public:
  /// @throws Error(usage) naming the process that holds it, Error(data) when the folder cannot be written
  explicit FolderLock(const std::filesystem::path& folder);
  FolderLock(const FolderLock&) = delete;
  ~FolderLock();

  static constexpr const char* file_name = "run.lock";

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xinslm
