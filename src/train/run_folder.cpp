#include "xinslm/train/run_folder.h"

#include <algorithm>
#include <string>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/shell.h"
#include "xinslm/format/owned_files.h"
#include "xinslm/train/checkpoint.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

using Paths = std::vector<fs::path>;

/// The time a run last changed, if the folder holds one.
std::optional<fs::file_time_type> run_time(const RunFolder& run) {
  const auto settings = run.saved_settings();
  if (!settings || (!run.finished() && !has_checkpoints(run.checkpoints()))) return std::nullopt;
  std::error_code failure;
  const auto time = fs::last_write_time(path_exists(run.metrics()) ? run.metrics() : *settings, failure);
  return failure ? std::nullopt : std::optional(time);
}

void append(Paths& all, const Paths& more) {
  all.insert(all.end(), more.begin(), more.end());
}

/// The path itself, when something is there that is no plain file beginning with the text.
Paths unless_starting(const fs::path& file, const std::string& text) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(file, ignored))) return {};
  if (!fs::is_regular_file(file, ignored)) return {file};
  const MappedFile content(file);
  return content.text().empty() || content.text().substr(0, 1024).find(text) != std::string_view::npos ? Paths()
                                                                                                       : Paths{file};
}

Paths foreign_checkpoints(const fs::path& folder) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure)) {
    return fs::exists(fs::symlink_status(folder, failure)) ? Paths{folder} : Paths();
  }
  Paths found;
  fs::directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (is_partial_name(name) || is_of_no_value(name)) continue;
    if (!is_checkpoint_name(name)) {
      found.push_back(entry->path());
    } else if (!entry->is_symlink()) {
      append(found, foreign_in_checkpoint(entry->path()));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

std::optional<fs::path> RunFolder::saved_settings() const {
  if (path_exists(settings())) return settings();
  const fs::path before = root / "config.yaml";
  if (path_exists(before) && path_exists(metrics())) return before;
  return std::nullopt;
}

bool RunFolder::finished() const {
  return path_exists(model() / "config.json");
}

std::optional<fs::path> RunFolder::latest_checkpoint() const {
  return newest_checkpoint(checkpoints());
}

Paths foreign_parts(const RunFolder& run) {
  Paths found = foreign_files(run.model());
  append(found, foreign_files(run.float_model()));
  append(found, foreign_checkpoints(run.checkpoints()));
  append(found, unless_starting(run.metrics(), "\"kind\":"));
  append(found, unless_starting(run.report(), "<title>Training of "));
  append(found, unless_starting(run.settings(), settings_title));
  return found;
}

void check_run_parts(const RunFolder& run) {
  const Paths foreign = foreign_parts(run);
  if (foreign.empty()) return;
  usage_error(run.root.string(), ": a run here would replace what xinslm did not write: ", some_of(foreign),
              "; move it away, or give another folder with --out");
}

void check_new_run(const RunFolder& run, bool replace) {
  check_run_parts(run);
  if (replace) return;
  const std::string root = run.root.string();
  if (run.finished()) {
    usage_error(root, ": holds a finished run; give another folder with --out, or --force to replace it");
  }
  if (run.latest_checkpoint()) {
    usage_error(root, ": holds a run that was interrupted; go on with --resume ", shell_quoted(root),
                ", give another folder with --out, or --force to start over");
  }
  if (has_checkpoints(run.checkpoints())) {
    usage_error(root, ": holds checkpoints of an earlier run, none of them whole; give another folder with --out, or ",
                "--force to delete them");
  }
}

void clear_run(const RunFolder& run) {
  for (const fs::path& part :
       {run.model(), run.float_model(), run.checkpoints(), run.metrics(), run.report(), run.settings()}) {
    std::error_code failure;
    fs::remove_all(part, failure);
    if (failure) data_error(part.string(), ": cannot be deleted: ", system_reason(failure.value()));
  }
}

RunFolder find_run(const fs::path& folder) {
  if (run_time(RunFolder{folder})) return RunFolder{folder};
  std::error_code failure;
  std::optional<fs::file_time_type> newest;
  RunFolder found;
  fs::directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) {
    const RunFolder run{entry->path()};
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
