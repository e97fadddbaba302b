#include <ATen/ATen.h>

#include <cmath>

#include "train/run_log.h"
#include "train/train_step.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/machine.h"
#include "xinslm/model/load.h"
#include "xinslm/model/quantize.h"
#include "xinslm/train/report.h"
#include "xinslm/train/trainer.h"

namespace xinslm {

TrainingOutcome Trainer::outcome(TrainingOutcome::End end) const {
  TrainingOutcome result;
  result.end = end;
  result.step = state_.step;
  result.tokens = state_.tokens;
  result.epochs = epochs();
  result.bad_steps = state_.bad_steps;
  result.seconds = seconds();
  result.tokens_per_second = log_->tokens_per_second();
  result.peak_share = log_->peak_share();
  result.peak_memory = peak_memory();
  result.training_loss = state_.smoothed_loss / state_.smoothing_weight;
  result.entropy = job_.data.builtin_bits_per_byte;
  result.best_loss = state_.best_validation_loss;
  return result;
}

TrainingOutcome Trainer::finish() {
  TrainingOutcome result =
      outcome(out_of_patience() ? TrainingOutcome::End::early_stopped : TrainingOutcome::End::finished);
  const Transformer model = choose_final(result);
  if (job_.settings.quantization.enable_quantization) {
    save_packed(model, result);
  } else {
    save_final(model, job_.run.model());
  }
  write_report(job_.run, job_.settings, job_.data.builtin_bits_per_byte);
  return result;
}

Transformer Trainer::choose_final(TrainingOutcome& outcome) {
  if (job_.data.validation) outcome.last = validate(false);
  if (job_.data.validation && ema_) outcome.averaged = validate(true);
  // Without held-out text nothing can be compared: the moving average was asked for and is nearly always better.
  const bool averaged = ema_ && (!outcome.last || outcome.averaged->loss < outcome.last->loss);
  if (outcome.last && job_.settings.training.early_stopping_patience > 0 && checkpoints_.exists(state_.best_step)) {
    const double loss = averaged ? outcome.averaged->loss : outcome.last->loss;
    if (state_.best_validation_loss < loss) {
      outcome.saved = cat("the best checkpoint, step ", state_.best_step);
      return best_checkpoint_model();
    }
  }
  outcome.saved = averaged ? "the moving average of the weights" : "the last weights";
  return averaged ? ema_->model(at::kFloat) : job_.masters;
}

Transformer Trainer::best_checkpoint_model() const {
  const auto folder = checkpoints_.path(state_.best_step);
  Transformer model = load_model(folder, at::kCPU, at::kFloat);
  if (!ema_) return model;
  // Validation measured the average, so that is what was best.
  const StateTensors saved(read_trainer_tensors(folder), (folder / "trainer_state.safetensors").string());
  for (const Parameter& parameter : job_.masters.table()) {
    if (parameter.trained) model.set_parameter(parameter.name, saved.at(parameter.name + Ema::suffix));
  }
  return model;
}

/// The float model beside, and what MXFP4 makes of it as the run's model.
void Trainer::save_packed(const Transformer& model, TrainingOutcome& outcome) const {
  const QuantizationSettings& wanted = job_.settings.quantization;
  if (job_.data.validation) {
    const auto progress = [this](double share) { log_->show_validation(share); };
    outcome.packed = validate_model(FakeQuantizer::rounded(model, wanted), *job_.data.validation,
                                    job_.settings.training.eval_batches, progress);
  }
  save_final(model, job_.run.float_model());
  quantize_model(
      job_.run.float_model(), job_.run.model(),
      {ScaleRule::mse, wanted.group_size, wanted.quantize_attention ? DenseForm::attention : DenseForm::stored, true},
      [](const QuantizedTensorReport&, double) { return true; });
}

void Trainer::save_final(const Transformer& model, const std::filesystem::path& target) const {
  const auto type = job_.settings.training.save_type == "bfloat16" ? at::kBFloat16 : at::kFloat;
  AtomicDirectory folder(target, true);
  save_model(folder.path(), model.converted(at::kCPU, type), *job_.tokenizer, job_.settings.generation);
  folder.commit();
}

}  // namespace xinslm
