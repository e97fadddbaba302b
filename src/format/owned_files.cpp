#include "xinslm/format/owned_files.h"

#include <algorithm>
#include <set>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

bool is_of_model(const std::string& name) {
  static const std::set<std::string> names{
      "config.json",     "generation_config.json", "model.safetensors",         "model.safetensors.index.json",
      "tokenizer.model", "tokenizer_config.json",  "trainer_state.safetensors", "trainer_state.json"};
  return names.contains(name) || (name.starts_with("model-") && name.ends_with(".safetensors"));
}

/// Folders of versions before the mark: they wrote keys of two versions of transformers, which nobody else does.
bool wrote_before_the_mark(const Json& config) {
  const auto has = [&](const char* key) { return config.contains(key); };
  return has("dtype") && has("torch_dtype") && has("rope_parameters") && has("rope_scaling");
}

bool is_ours(const fs::path& folder) {
  try {
    const Json config = read_json(folder / "config.json");
    if (!config.is_object()) return false;
    return config.value(written_by_key, Json()) == written_by || wrote_before_the_mark(config);
  } catch (const Error&) {
    return false;
  }
}

bool same_content(const fs::path& one, const fs::path& other) {
  std::error_code failure;
  if (!fs::is_regular_file(other, failure)) return false;
  const auto size = fs::file_size(one, failure), other_size = fs::file_size(other, failure);
  if (failure || size != other_size) return false;
  return MappedFile(one).text() == MappedFile(other).text();
}

/// Everything in the folder that is not a plain file of a model's names.
std::vector<fs::path> others(const fs::path& folder, bool ours, const fs::path& source) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure)) {
    return fs::exists(fs::symlink_status(folder, failure)) ? std::vector{folder} : std::vector<fs::path>();
  }
  std::vector<fs::path> found;
  fs::directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (is_partial_name(name) || is_of_no_value(name)) continue;
    std::error_code unreadable;
    const bool plain = entry->is_regular_file(unreadable);
    if (plain && ours && (is_of_model(name) || (!source.empty() && same_content(entry->path(), source / name)))) {
      continue;
    }
    found.push_back(entry->path());
  }
  if (failure) data_error(folder.string(), ": cannot read the folder: ", system_reason(failure.value()));
  std::sort(found.begin(), found.end());
  return found;
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

bool is_empty_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::is_empty(path, ignored);
}

}  // namespace

bool is_of_no_value(const std::string& name) {
  return name == ".DS_Store" || name == "Thumbs.db" || name == "desktop.ini" || name.starts_with("._");
}

std::vector<fs::path> foreign_files(const fs::path& folder, const fs::path& source) {
  return others(folder, is_ours(folder), source);
}

std::vector<fs::path> foreign_in_checkpoint(const fs::path& folder) {
  return others(folder, true, {});
}

std::string some_of(const std::vector<fs::path>& paths) {
  constexpr size_t shown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(shown, paths.size()); ++i) text += (i > 0 ? ", " : "") + paths[i].string();
  return paths.size() > shown ? cat(text, " and ", paths.size() - shown, " more") : text;
}

void check_model_target(const fs::path& target, bool force, const fs::path& source) {
  std::error_code ignored;
  const fs::file_status status = fs::symlink_status(target, ignored);
  if (fs::exists(status) && !is_empty_folder(target)) {
    if (!force) usage_error(target.string(), ": is there already; choose another --out, or replace it with --force");
    if (!source.empty() && is_inside(source, target)) {
      usage_error(target.string(), ": is or holds the model that is read; choose another --out");
    }
    const std::vector<fs::path> lost = foreign_files(target, source);
    if (!lost.empty()) {
      usage_error(target.string(), ": --force replaces only what xinslm wrote, and would delete ", some_of(lost),
                  "; choose another --out, or move them away");
    }
  }
  const AtomicDirectory writable(target, force);
}

}  // namespace xinslm
