#include "train/run_log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>

#include "xinslm/core/device_memory.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"

namespace xinslm {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr size_t warming_up = 3;  // steps in which memory is claimed and kernels are made

double median(std::vector<double> values) {
  if (values.empty()) return not_a_number;
  if (values.size() > 2 * warming_up) values.erase(values.begin(), values.begin() + warming_up);
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double bits_per_byte(double nats, int64_t bytes) {
  return bytes > 0 ? nats / std::numbers::ln2 / static_cast<double>(bytes) : not_a_number;
}

template <class... Values>
std::string print(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

void RunLog::open(const std::filesystem::path& metrics, int64_t resumed_step, bool finishing) {
  metrics_ = std::make_unique<MetricsFile>(metrics, resumed_step, finishing);
}

void RunLog::add(const StepResult& result, double seconds, double flops) {
  const double work = flops * static_cast<double>(result.tokens);
  token_rates_.push_back(static_cast<double>(result.tokens) / seconds);
  flop_rates_.push_back(work / seconds);
  last_ = result;
  window_.seconds += seconds;
  window_.flops += work;
  window_.tokens += result.tokens;
  if (!result.finite()) return;
  ++window_.steps;
  window_.loss_sum += result.loss_sum;
  window_.target_tokens += result.target_tokens;
  window_.target_bytes += result.target_bytes;
  window_.balance += result.balance_loss;
  window_.z += result.z_loss;
  window_.gradient_norm += result.gradient_norm;
}

double RunLog::share_of_peak(double flops, double seconds) const {
  return peak_flops_ > 0 && seconds > 0 ? flops / seconds / peak_flops_ : not_a_number;
}

void RunLog::write(TrainRecord record) {
  const Window window = std::exchange(window_, {});
  const double steps = static_cast<double>(window.steps);  // 0 gives NaN, as it should
  record.loss = window.loss_sum / static_cast<double>(window.target_tokens);
  record.bits_per_byte = bits_per_byte(window.loss_sum, window.target_bytes);
  record.balance_loss = window.balance / steps;
  record.z_loss = window.z / steps;
  record.gradient_norm = window.gradient_norm / steps;
  record.tokens_per_second = static_cast<double>(window.tokens) / window.seconds;
  record.peak_share = share_of_peak(window.flops, window.seconds);
  record.memory = peak_memory();
  record.device_memory = device_memory(device_).driver;
  metrics_->write(record);
}

void RunLog::write(const ValidationRecord& record) {
  validation_ = record;
  metrics_->write(record);
}

void RunLog::show(double share, const TrainRecord& now) {
  progress_.update(share, [&] {
    std::string text =
        print("step %lld  loss %.3f ~%.3f", static_cast<long long>(now.step), last_.loss(), now.smoothed_loss);
    if (validation_) text += print("  val %.3f (%.3f bits/byte)", validation_->loss, validation_->bits_per_byte);
    text += print("  %.0f tok/s", token_rates_.empty() ? 0.0 : token_rates_.back());
    if (peak_flops_ > 0 && !flop_rates_.empty())
      text += print(" (%.0f%% of peak)", 100 * flop_rates_.back() / peak_flops_);
    text += "  " + duration_text(now.seconds_left) + " left";
    text += print("  lr %.2e  |g| %.2f", now.learning_rate, last_.gradient_norm);
    text += print("  %.2f bits/byte", bits_per_byte(last_.loss_sum, last_.target_bytes));
    text += print("  %.2f GiB", static_cast<double>(peak_memory()) / (1 << 30));
    if (!device_.is_cpu()) text += "  MPS memory " + device_memory_text(device_);
    return text;
  });
}

void RunLog::show_validation(double share) {
  progress_.update(share, [] { return std::string("measuring on held-out text"); });
}

void RunLog::say(const std::string& message) {
  progress_.clear();
  log::info(message);
}

void RunLog::warn(const std::string& message) {
  progress_.clear();
  log::warning(message);
}

double RunLog::tokens_per_second() const {
  return median(token_rates_);
}
double RunLog::peak_share() const {
  return peak_flops_ > 0 ? median(flop_rates_) / peak_flops_ : not_a_number;
}

}  // namespace xinslm
