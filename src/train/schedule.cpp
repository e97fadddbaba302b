#include "xinslm/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "xinslm/core/error.h"

namespace xinslm {

Schedule::Schedule(const TrainingSettings& settings, int64_t total_steps)
    : settings_(settings), total_steps_(total_steps) {}

double Schedule::shape(double share) const {
  const std::string& type = settings_.lr_scheduler_type;
  if (type == "cosine") return 0.5 * (1 + std::cos(std::numbers::pi * share));
  if (type == "linear") return 1 - share;
  if (type == "wsd") return std::min(1.0, (1 - share) / std::max(settings_.wsd_decay_share, 1e-9));
  return 1;
}

double Schedule::factor(int64_t step, double seconds) const {
  if (step < settings_.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(settings_.warmup_steps);
  }
  double share = 0;
  if (total_steps_ > 0) {
    const int64_t after_warmup = std::max<int64_t>(1, total_steps_ - settings_.warmup_steps);
    share = static_cast<double>(step - settings_.warmup_steps) / static_cast<double>(after_warmup);
  }
  if (settings_.max_minutes > 0) share = std::max(share, seconds / (60 * settings_.max_minutes));
  return settings_.min_lr_ratio + (1 - settings_.min_lr_ratio) * shape(std::clamp(share, 0.0, 1.0));
}

double Schedule::share_done(int64_t step, double seconds) const {
  double share = 0;
  if (total_steps_ > 0) share = static_cast<double>(step) / static_cast<double>(total_steps_);
  if (settings_.max_minutes > 0) share = std::max(share, seconds / (60 * settings_.max_minutes));
  return std::min(share, 1.0);
}

double Schedule::seconds_left(int64_t step, double seconds) const {
  const double share = share_done(step, seconds);
  return share > 0 ? seconds * (1 - share) / share : std::numeric_limits<double>::quiet_NaN();
}

int64_t planned_steps(const TrainingSettings& settings, int64_t batches, int64_t made, int64_t used) {
  if (settings.max_steps > 0) return settings.max_steps;
  if (settings.max_minutes > 0) return 0;
  const int64_t size = settings.gradient_accumulation_steps;
  if (batches > 0) return made + (std::max<int64_t>(0, batches - used) + size - 1) / size;
  usage_error("training.num_train_epochs is ", settings.num_train_epochs, ", and training.max_steps and ",
              "training.max_minutes are 0: that is not one step; set one of them above 0");
}

}  // namespace xinslm
