#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/train_step.h"
#include "xinslm/core/progress.h"
#include "xinslm/train/metrics.h"

namespace xinslm {

/// What a run tells while it goes: the progress line and metrics.jsonl.
class RunLog {
 public:
  /// @param device      whose memory is told
  /// @param peak_flops  what share-of-peak figures refer to; 0 = unknown
  RunLog(at::Device device, double peak_flops) : device_(device), peak_flops_(peak_flops) {}

  /// Starts metrics.jsonl, or goes on with it after `resumed_step`, or with the last validation when `finishing`.
  void open(const std::filesystem::path& metrics, int64_t resumed_step, bool finishing);

  /// @param seconds  the step took
  /// @param flops    a token of it took
  void add(const StepResult& result, double seconds, double flops);

  /// Writes the steps since the last line, with what the trainer knows already filled in.
  void write(TrainRecord record);
  void write(const ValidationRecord& record);

  /// The progress line. @param share  of the run that is done
  void show(double share, const TrainRecord& now);
  /// The progress line of a validation.
  void show_validation(double share);

  void say(const std::string& message);
  void warn(const std::string& message);

  /// Medians over the steps of this session, the first few (which warm up) left out where there are more.
  double tokens_per_second() const;
  /// NaN when the peak is unknown.
  double peak_share() const;

 private:
  struct Window {  // since the last line of metrics
    int64_t steps = 0, tokens = 0, target_tokens = 0, target_bytes = 0;
    double loss_sum = 0, balance = 0, z = 0, gradient_norm = 0, seconds = 0, flops = 0;
  };

  double share_of_peak(double flops, double seconds) const;

  at::Device device_;
  double peak_flops_;
  Window window_;
  std::unique_ptr<MetricsFile> metrics_;
  std::optional<ValidationRecord> validation_;
  ProgressLine progress_;
  std::vector<double> token_rates_, flop_rates_;  // of each step of this session
  StepResult last_;
};

}  // namespace xinslm
