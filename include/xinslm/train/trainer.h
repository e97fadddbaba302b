#pragma once
#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/data/training_data.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"
#include "xinslm/train/balance.h"
#include "xinslm/train/checkpoint.h"
#include "xinslm/train/ema.h"
#include "xinslm/train/expert_health.h"
#include "xinslm/train/fake_quantizer.h"
#include "xinslm/train/gradients.h"
#include "xinslm/train/optimizer.h"
#include "xinslm/train/run_folder.h"
#include "xinslm/train/schedule.h"
#include "xinslm/train/validation.h"

namespace xinslm {

struct StepPlan;
struct StepResult;
class RunLog;

/// All a run is made from.
struct TrainingJob {
  Settings settings;
  RunFolder run;
  std::shared_ptr<const Tokenizer> tokenizer;
  TrainingData data;
  Transformer masters;  ///< float32, not memory-mapped
  at::ScalarType compute_type;
  double peak_flops = 0;  ///< measured for the compute type; 0 = unknown
};

/// What a run came to.
struct TrainingOutcome {
  enum class End { finished, early_stopped, interrupted };
  End end = End::finished;
  int64_t step = 0, tokens = 0, bad_steps = 0;
  double epochs = 0;                        ///< passes over the training text that those tokens are
  double seconds = 0;                       ///< of the whole run, earlier sessions included
  double tokens_per_second = 0;             ///< median over this session's steps
  double peak_share = 0;                    ///< of the measured matrix-product peak, at that speed; NaN when unknown
  int64_t peak_memory = 0;                  ///< bytes
  double training_loss = 0;                 ///< smoothed
  std::optional<ValidationScore> last;      ///< of the last weights
  std::optional<ValidationScore> averaged;  ///< of their moving average, where there is one
  std::optional<ValidationScore>
      packed;  ///< of the model saved, its experts rounded to MXFP4, where that was asked for
  double best_loss = std::numeric_limits<double>::quiet_NaN();  ///< validation loss of the best checkpoint
  double entropy =
      std::numeric_limits<double>::quiet_NaN();  ///< bits a byte of the built-in corpus: the least possible
  std::string saved;                             ///< which weights the finished model has
};

/// The training loop. Everything a step does follows from the settings, the seed and the step's number, so a run that
/// was stopped and resumed ends in the same bits as one that was not.
class Trainer {
 public:
  explicit Trainer(TrainingJob job);
  ~Trainer();

  /// Goes on from a checkpoint of the same run, whose weights the job has as its masters already. @throws Error(data |
  /// usage) when it does not belong to the job
  void resume(const std::filesystem::path& checkpoint);

  /// Trains to the end of the schedule, or until validation stops improving or Ctrl-C; writes checkpoints, metrics, the
  /// report and the finished model. @throws Error(runtime) after too many steps in a row that are not finite
  TrainingOutcome run();

  /// True when no step is left to make.
  bool done() const { return done_; }
  const TrainerState& state() const { return state_; }

 private:
  void step();
  StepPlan plan_step();
  std::vector<Batch> next_batches() const;
  void apply(const StepPlan& plan, const StepResult& result);
  void skip(const StepResult& result);
  void round_experts();
  bool rounds_experts() const;
  void return_memory_if_due() const;

  void log_if_due();
  void validate_if_due();
  void save_if_due();
  void save();
  ValidationScore validate(bool averaged);
  Transformer averaged_model() const;
  bool improved(double validation_loss);
  double epochs() const;

  double seconds() const;
  bool out_of_patience() const;
  bool reached_end() const;
  TrainingOutcome outcome(TrainingOutcome::End end) const;
  TrainingOutcome finish();
  Transformer choose_final(TrainingOutcome& outcome);
  Transformer best_checkpoint_model() const;
  void save_final(const Transformer& model, const std::filesystem::path& target) const;
  void save_packed(const Transformer& model, TrainingOutcome& outcome) const;

  TrainingJob job_;
  Transformer model_;  // what computes; shares what it can with the masters
  Schedule schedule_;
  Optimizer optimizer_;
  Gradients gradients_;
  std::optional<Ema> ema_;
  std::optional<FakeQuantizer> fake_quantizer_;  // in quantisation-aware training
  RouterBias router_bias_;
  ExpertHealth experts_;
  Checkpoints checkpoints_;
  TrainerState state_;
  std::unique_ptr<RunLog> log_;
  double learning_rate_ = 0;  // of the last step
  bool done_ = false;
  int64_t saved_step_ = -1;  // of the checkpoint written or gone on from last
  std::chrono::steady_clock::time_point session_start_, last_save_;
  double seconds_before_ = 0;  // of earlier sessions
};

}  // namespace xinslm
