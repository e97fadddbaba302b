#include "xinslm/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/core/log.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/load.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr const char* prefix = "step-";
constexpr const char* aside = "not-finite-";  // before the prefix
constexpr const char *latest = "latest", *best = "best";

double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

Json to_json(const TrainerState& state) {
  return {{"step", state.step},
          {"batches", state.batches},
          {"updates", state.updates},
          {"tokens", state.tokens},
          {"bad_steps", state.bad_steps},
          {"bad_in_a_row", state.bad_in_a_row},
          {"seconds", state.seconds},
          {"smoothed_loss", state.smoothed_loss},
          {"smoothing_weight", state.smoothing_weight},
          {"validation_loss", state.validation_loss},
          {"best_validation_loss", state.best_validation_loss},
          {"best_step", state.best_step},
          {"validations_without_gain", state.validations_without_gain},
          {"compute_type", state.compute_type},
          {"data_fingerprint", state.data_fingerprint}};
}

/// The step in a checkpoint's name.
std::optional<int64_t> step_of(const std::string& name) {
  const std::string digits = name.starts_with(prefix) ? name.substr(std::string_view(prefix).size()) : "";
  if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) return {};
  return std::stoll(digits);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure), end;
  for (; !failure && entry != end; entry.increment(failure)) names.push_back(entry->path().filename().string());
  return names;
}

/// Steps of the checkpoints in the folder, oldest first.
std::vector<int64_t> saved_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(folder)) {
    if (const auto step = step_of(name)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

/// Names and sizes of the files in a folder.
Json file_sizes(const fs::path& folder) {
  Json sizes = Json::object();
  for (const std::string& name : names_in(folder)) {
    if (!is_partial_name(name)) sizes[name] = fs::file_size(folder / name);
  }
  return sizes;
}

/// Every file is there as it was written. Checkpoints of older versions do not say what they hold.
void check_sizes(const fs::path& checkpoint) {
  const Json state = read_json(checkpoint / "trainer_state.json"), found = file_sizes(checkpoint);
  if (!state.contains("files")) return;
  for (const auto& [name, size] : state["files"].items()) {
    if (found.contains(name) && found[name] == size) continue;
    data_error((checkpoint / name).string(),
               found.contains(name) ? ": has another size than it was written with" : ": is missing");
  }
}

/// Why the checkpoint cannot be gone on from; nothing when it can.
std::optional<std::string> damage(const fs::path& checkpoint) {
  try {
    read_trainer_state(checkpoint);
    read_trainer_tensors(checkpoint);
    read_weights(checkpoint);
    read_model_config(checkpoint);
    check_sizes(checkpoint);
    return std::nullopt;
  } catch (const Error& problem) {
    return problem.what();
  }
}

void delete_all(const fs::path& path) {
  std::error_code failure;
  fs::remove_all(path, failure);
  if (failure) data_error(path.string(), ": cannot be deleted: ", system_reason(failure.value()));
}

void move(const fs::path& from, const fs::path& to) {
  delete_all(to);
  std::error_code failure;
  fs::rename(from, to, failure);
  if (failure) data_error(from.string(), ": cannot be renamed to ", to.string(), ": ", system_reason(failure.value()));
}

}  // namespace

std::optional<fs::path> newest_checkpoint(const fs::path& folder, int64_t up_to) {
  std::vector<int64_t> steps = saved_steps(folder);
  const Checkpoints checkpoints(folder, 0);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step > up_to) continue;
    const fs::path path = checkpoints.path(*step);
    const auto problem = damage(path);
    if (!problem) return path;
    log::warning(cat(path.string(), " is not whole: ", *problem));
  }
  return std::nullopt;
}

bool has_checkpoints(const fs::path& folder) {
  for (const std::string& name : names_in(folder)) {
    std::error_code ignored;
    if (is_checkpoint_name(name) && fs::is_directory(folder / name, ignored)) return true;
  }
  return false;
}

bool is_checkpoint_name(const std::string& name) {
  if (name.starts_with(aside)) return step_of(name.substr(std::string_view(aside).size())).has_value();
  return name == latest || name == best || step_of(name).has_value();
}

Checkpoints::Checkpoints(const fs::path& folder, int64_t keep) : folder_(folder), keep_(keep) {}

fs::path Checkpoints::path(int64_t step) const {
  char name[32];
  std::snprintf(name, sizeof name, "%s%08lld", prefix, static_cast<long long>(step));
  return folder_ / name;
}

bool Checkpoints::exists(int64_t step) const {
  return fs::exists(path(step) / "trainer_state.json");
}

void Checkpoints::save(const TrainerState& state, const NamedTensors& tensors, const Transformer& masters,
                       const Tokenizer& tokenizer, const GenerationSettings& generation) const {
  const fs::path target = path(state.step);
  AtomicDirectory folder(target, true);  // what is left of one that was not whole
  save_model(folder.path(), masters, tokenizer, generation);
  write_safetensors(folder.path() / "trainer_state.safetensors", tensors);
  Json json = to_json(state);
  json["files"] = file_sizes(folder.path());
  write_json(folder.path() / "trainer_state.json", json);
  folder.commit();
  link(latest, state.step);
  if (state.best_step == state.step) link(best, state.step);
  prune(state);
}

void Checkpoints::link(const char* name, int64_t step) const {
  replace_symlink(folder_ / name, path(step).filename());
}

void Checkpoints::prune(const TrainerState& state) const {
  std::vector<int64_t> steps = saved_steps(folder_);
  std::erase_if(steps, [&](int64_t step) { return step > state.step; });  // not whole, and not counted
  const auto after = std::upper_bound(steps.begin(), steps.end(), state.last_sound_step());
  const int64_t sound = after == steps.begin() ? -1 : *(after - 1);
  const int64_t surplus = static_cast<int64_t>(steps.size()) - keep_;
  for (int64_t i = 0; i < surplus; ++i) {
    const int64_t step = steps[static_cast<size_t>(i)];
    std::error_code ignored;  // one too many does no harm
    if (step != state.best_step && step != sound) fs::remove_all(path(step), ignored);
  }
}

void Checkpoints::repair() const {
  for (const char* name : {latest, best}) {
    const fs::path copy = folder_ / name;
    std::error_code ignored;
    if (fs::is_symlink(copy, ignored) || !path_exists(copy)) continue;
    // A folder where a link was: the only copy of its checkpoint, or one more.
    if (damage(copy)) {
      delete_all(copy);
      continue;
    }
    const fs::path original = path(read_trainer_state(copy).step);
    if (damage(original)) {
      move(copy, original);
    } else {
      delete_all(copy);
    }
  }
  const auto newest = newest_checkpoint(folder_);
  if (!newest) return;
  const TrainerState state = read_trainer_state(*newest);
  link(latest, state.step);
  if (exists(state.best_step)) {
    link(best, state.best_step);
  } else {
    delete_all(folder_ / best);
  }
}

void Checkpoints::set_aside_after(int64_t step, int64_t best_step) const {
  for (const int64_t saved : saved_steps(folder_)) {
    if (saved <= step || saved == best_step) continue;
    move(path(saved), folder_ / cat(aside, path(saved).filename().string()));
  }
  const std::vector<int64_t> left = saved_steps(folder_);
  if (left.empty()) {
    delete_all(folder_ / latest);
  } else {
    link(latest, left.back());
  }
}

Transformer read_masters(const fs::path& folder, at::Device device,
                         const std::function<bool(const Parameter&)>& trained) {
  Transformer masters = load_model(folder, device, at::kFloat);
  if (trained) masters.train_only(trained);
  const auto mapped = masters.parameters();
  for (size_t i = 0; i < mapped.size(); ++i) {
    if (masters.table()[i].trained) masters.set_parameter(mapped[i].first, mapped[i].second.clone());
  }
  return masters;
}

TrainerState read_trainer_state(const fs::path& checkpoint) {
  const fs::path file = checkpoint / "trainer_state.json";
  const Json json = read_json(file);
  try {
    TrainerState state;
    state.step = json.at("step");
    state.batches = json.value("batches", int64_t{-1});  // older versions wrote none
    state.updates = json.at("updates");
    state.tokens = json.at("tokens");
    state.bad_steps = json.at("bad_steps");
    state.bad_in_a_row = json.at("bad_in_a_row");
    state.seconds = json.at("seconds");
    state.smoothed_loss = number(json.at("smoothed_loss"));
    state.smoothing_weight = number(json.at("smoothing_weight"));
    state.validation_loss = number(json.at("validation_loss"));
    state.best_validation_loss = number(json.at("best_validation_loss"));
    state.best_step = json.at("best_step");
    state.validations_without_gain = json.at("validations_without_gain");
    state.compute_type = json.at("compute_type");
    state.data_fingerprint = json.at("data_fingerprint");
    return state;
  } catch (const Json::exception& problem) {
    data_error(file.string(), ": is not the state of a training run: ", problem.what());
  }
}

NamedTensors read_trainer_tensors(const fs::path& checkpoint) {
  return read_safetensors(checkpoint / "trainer_state.safetensors");
}

}  // namespace xinslm
