#include "xinslm/train/resume_settings.h"

#include <set>

#include "train/setting_values.h"
#include "xinslm/core/error.h"
#include "xinslm/core/shell.h"

namespace xinslm {
namespace {

/// Must stay the same: what a batch, a weight or a moment is.
bool breaks_resume(const std::string& key) {
  static const std::set<std::string> of_training = {"training.seed",
                                                    "training.per_device_train_batch_size",
                                                    "training.gradient_accumulation_steps",
                                                    "training.max_seq_length",
                                                    "training.optimizer",
                                                    "training.loss_on"};
  static const std::set<std::string> of_data_may = {"data.cache_dir", "data.num_workers"};
  if (key.starts_with("model.") || key.starts_with("tokenizer.")) return true;
  if (key.starts_with("data.")) return !of_data_may.contains(key);
  return of_training.contains(key);
}

/// What was not asked for and is taken from the tokenizer.
bool comes_from_tokenizer(const std::string& key, const Settings& settings) {
  return (key == "model.vocab_size" || key.ends_with("_token_id")) && !settings.origins.contains(key);
}

}  // namespace

void check_resumed_settings(const Settings& before, const Settings& now, const std::string& run) {
  const auto old_values = setting_values(before), new_values = setting_values(now);
  std::string changed;
  const auto add = [&](const std::string& key) {
    changed += cat(changed.empty() ? "" : ", ", key, " (was ", old_values.at(key), ", now ", new_values.at(key), ")");
  };
  for (const auto& [key, value] : new_values) {
    if (breaks_resume(key) && !comes_from_tokenizer(key, now) && value != old_values.at(key)) add(key);
  }
  if ((before.training.ema_decay > 0) != (now.training.ema_decay > 0)) add("training.ema_decay");
  if (changed.empty()) return;
  usage_error(run, ": cannot be resumed with other ", changed,
              "; leave them as they were, or start a new run with --init ", shell_quoted(run + "/checkpoints/latest"));
}

}  // namespace xinslm
