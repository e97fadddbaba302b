#include "xinslm/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/model/load.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr const char* prefix = "step-";

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

/// Steps of the checkpoints in the folder, oldest first.
std::vector<int64_t> saved_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string digits = name.starts_with(prefix) ? name.substr(std::string(prefix).size()) : "";
    if (!digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos)
      steps.push_back(std::stoll(digits));
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace

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
                       const Tokenizer& tokenizer) const {
  const fs::path target = path(state.step);
  AtomicDirectory folder(target);
  save_model(folder.path(), masters, tokenizer);
  write_safetensors(folder.path() / "trainer_state.safetensors", tensors);
  write_json(folder.path() / "trainer_state.json", to_json(state));
  folder.commit();
  replace_symlink(folder_ / "latest", target.filename());
  if (state.best_step == state.step) replace_symlink(folder_ / "best", target.filename());
  prune(state.best_step);
}

void Checkpoints::prune(int64_t best_step) const {
  const std::vector<int64_t> steps = saved_steps(folder_);
  const int64_t surplus = static_cast<int64_t>(steps.size()) - keep_;
  for (int64_t i = 0; i < surplus; ++i) {
    const int64_t step = steps[static_cast<size_t>(i)];
    std::error_code ignored;  // one too many does no harm
    if (step != best_step) fs::remove_all(path(step), ignored);
  }
}

Transformer read_masters(const fs::path& folder, at::Device device) {
  Transformer masters = load_model(folder, device, at::kFloat);
  const auto mapped = masters.parameters();
  for (const auto& [name, value] : mapped) masters.set_parameter(name, value.clone());
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
