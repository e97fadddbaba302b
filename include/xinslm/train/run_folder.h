#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

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
  /// The run's settings as they were resolved. Not config.yaml: that is what people call their own.
  std::filesystem::path settings() const { return root / "run.yaml"; }
  /// Where they can be read: above, or in the config.yaml of runs made before. Nothing when the folder holds no run.
  std::optional<std::filesystem::path> saved_settings() const;

  bool finished() const;
  /// The newest whole checkpoint, or nothing.
  std::optional<std::filesystem::path> latest_checkpoint() const;
};

/// First line of run.yaml, by which it is known.
inline constexpr const char* settings_title =
    "# Settings of this run as they were resolved, written by xinslm train.\n";

/// What a run in the folder would replace and no run of this program has written.
std::vector<std::filesystem::path> foreign_parts(const RunFolder& run);

/// Checks that a run can save what it computes: that all it would replace is its own.
/// @throws Error(usage) naming what would be lost
void check_run_parts(const RunFolder& run);

/// Checks that a new run may start in the folder. @param replace  an earlier run there may be deleted
/// @throws Error(usage) when it holds a run, finished or not, saying how to go on with it or replace it, or what is not
///   a run's
void check_new_run(const RunFolder& run, bool replace);

/// Deletes what an earlier run left in the folder, and nothing else.
void clear_run(const RunFolder& run);

/// The run to go on with: the folder itself when it holds one, else the newest run in it.
/// @throws Error(data) when there is none
RunFolder find_run(const std::filesystem::path& folder);

}  // namespace xinslm
