#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "xinslm/core/file.h"
#include "xinslm/train/expert_health.h"

namespace xinslm {

/// What a step, or the steps since the last line, came to.
struct TrainRecord {
  int64_t step = 0;    ///< steps made
  int64_t tokens = 0;  ///< seen since the start of the run
  double epoch = 0;
  double seconds = 0;  ///< of the run, earlier sessions included
  double loss = 0;     ///< mean of the window's steps, nats a token
  double smoothed_loss = 0;
  double bits_per_byte = 0;
  double balance_loss = 0;  ///< mean of the layers; 1 = balanced
  double z_loss = 0;        ///< mean of the layers
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  double tokens_per_second = 0;
  double peak_share = 0;      ///< of the measured matrix-product peak
  int64_t memory = 0;         ///< largest so far, bytes
  int64_t device_memory = 0;  ///< that the GPU's driver holds now, bytes; 0 on the processor
  double seconds_left = 0;
  int64_t bad_steps = 0;  ///< skipped since the start of the run
  std::vector<LayerHealth> experts;
};

struct ValidationRecord {
  int64_t step = 0;
  double seconds = 0;
  double loss = 0;  ///< nats a token
  double bits_per_byte = 0;
  double perplexity = 0;
  bool averaged = false;  ///< measured on the moving average of the weights
};

/// What a run's metrics.jsonl holds.
struct MetricsHistory {
  std::vector<TrainRecord> train;
  std::vector<ValidationRecord> validation;
};

/// metrics.jsonl: one JSON object a line, {"kind": "train" | "validation", "step": ..., ...}, written as the run goes.
class MetricsFile {
 public:
  /// @param resumed_step  lines of later steps are dropped, they will be made again; 0 = a new file
  /// @param finishing     nothing but the last validation is left to do, so lines of it are dropped, too
  /// @throws Error(data) when the file cannot be read or written
  MetricsFile(const std::filesystem::path& path, int64_t resumed_step, bool finishing = false);

  void write(const TrainRecord& record);
  void write(const ValidationRecord& record);

 private:
  void write_line(const std::string& line);

  std::optional<AppendedFile> file_;
};

/// @throws Error(data) naming file and line of what is not a record
MetricsHistory read_metrics(const std::filesystem::path& path);

}  // namespace xinslm
