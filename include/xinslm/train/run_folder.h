#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

namespace xinslm {

/// Where the parts of a training run lie.
struct RunFolder {
  std::filesystem::path root;

  std::filesystem::path model() const { return root / "model"; }
  /// The finished model before its experts were quantised, where they were.
  std::filesystem::path float_model() const { return root / "float"; }
  std::filesystem::path checkpoints() const { return root / "checkpoints"; }
  std::filesystem::path metrics() const { return root / "metrics.jsonl"; }
  std::filesystem::path report() const { return root / "report.html"; }
  std::filesystem::path settings() const { return root / "config.yaml"; }

  bool finished() const;
  /// The newest whole checkpoint, or nothing.
  std::optional<std::filesystem::path> latest_checkpoint() const;
};

/// Checks that a new run may start in the folder. @param replace  an earlier run there may be deleted
/// @throws Error(usage) when it holds a run, finished or not, saying how to go on with it or replace it
void check_new_run(const RunFolder& run, bool replace);

/// Deletes what an earlier run left in the folder, and nothing else.
void clear_run(const RunFolder& run);

/// The run to go on with: the folder itself when it holds one, else the newest run in it.
/// @throws Error(data) when there is none
RunFolder find_run(const std::filesystem::path& folder);

}  // namespace xinslm
