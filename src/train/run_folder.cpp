#include "xinslm/train/run_folder.h"

#include "xinslm/core/error.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// The time a run last changed, if the folder holds one.
std::optional<fs::file_time_type> run_time(const RunFolder& run) {
  std::error_code failure;
  if (!fs::exists(run.settings(), failure)) return std::nullopt;
  if (!run.finished() && !run.latest_checkpoint()) return std::nullopt;
  const fs::path newest = fs::exists(run.metrics(), failure) ? run.metrics() : run.settings();
  return fs::last_write_time(newest);
}

}  // namespace

bool RunFolder::finished() const {
  std::error_code failure;
  return fs::exists(model() / "config.json", failure);
}

std::optional<fs::path> RunFolder::latest_checkpoint() const {
  std::error_code failure;
  const fs::path link = checkpoints() / "latest";
  if (!fs::exists(link / "trainer_state.json", failure)) return std::nullopt;
  const fs::path target = fs::read_symlink(link, failure);
  return failure ? link : checkpoints() / target;
}

void check_new_run(const RunFolder& run, bool replace) {
  if (replace) return;
  const std::string root = run.root.string();
  if (run.finished()) {
    usage_error(root, ": holds a finished run; give another folder with --out, or --force to replace it");
  }
  if (run.latest_checkpoint()) {
    usage_error(root, ": holds a run that was interrupted; go on with --resume ", root,
                ", give another folder with --out, or --force to start over");
  }
}

void clear_run(const RunFolder& run) {
  for (const fs::path& part :
       {run.model(), run.float_model(), run.checkpoints(), run.metrics(), run.report(), run.settings()}) {
    std::error_code failure;
    fs::remove_all(part, failure);
    if (failure) data_error(part.string(), ": cannot be deleted: ", failure.message());
  }
}

RunFolder find_run(const fs::path& folder) {
  std::error_code failure;
  if (run_time(RunFolder{folder})) return RunFolder{folder};
  std::optional<fs::file_time_type> newest;
  RunFolder found;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    const RunFolder run{entry.path()};
    const auto time = run_time(run);
    if (time && (!newest || *time > *newest)) {
      newest = time;
      found = run;
    }
  }
  if (newest) return found;
  data_error(folder.string(), ": no run to resume here; start one with xinslm train --config FILE, or name its folder ",
             "with --resume DIR");
}

}  // namespace xinslm
