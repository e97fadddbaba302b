#pragma once
#include <filesystem>
#include <string>

#include "core/descriptor.h"

namespace xinslm {

/// A file or folder beside its target that is not whole yet, under a name of its own. The process that makes it holds a
/// lock on it, which the system lets go when the process ends, however it ends: so the next one can tell what is left
/// over from what is being written, even in another container.
class Partial {
 public:
  enum class Kind { file, folder };

  /// Makes the folder of the target where it is missing, and tidies it.
  /// @throws Error(data) when the target cannot be written beside
  Partial(const std::filesystem::path& target, Kind kind);
  Partial(const Partial&) = delete;
  /// Deletes it, unless it was moved to its place.
  ~Partial();

  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return descriptor_.get(); }
  /// It stands in its place now.
  void moved();

 private:
  bool make(Kind kind);

  std::filesystem::path path_;
  Descriptor descriptor_;
};

/// A name beside the target for what it is replaced by, until that is done (for systems that cannot exchange names).
std::filesystem::path aside_name(const std::filesystem::path& target);

/// Deletes what processes that are no more have left in the folder, and puts back what they had moved aside.
void tidy(const std::filesystem::path& folder);

/// Where a path really leads: without a slash at its end, through the link it may be.
/// @throws Error(data) for links that loop and names that are too long
std::filesystem::path settled(const std::filesystem::path& path);

/// The folder a path is in; "." where it has none.
std::filesystem::path folder_of(const std::filesystem::path& path);

void flush_to_disk(const std::filesystem::path& path);

/// system_reason of errno.
std::string last_reason();

}  // namespace xinslm
