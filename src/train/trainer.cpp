#include "xinslm/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "train/run_log.h"
#include "train/train_step.h"
#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/machine.h"
#include "xinslm/core/shell.h"
#include "xinslm/train/fake_quantizer.h"
#include "xinslm/train/flops.h"

namespace xinslm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double smoothing = 0.98;  // of the loss shown: a mean over about the last 50 steps

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The model that computes: the masters themselves in float32, else copies of the matrices in `type`. Matrices that
/// will be rounded are copies in any case.
Transformer computing_model(const Transformer& masters, at::ScalarType type, const Settings& settings) {
  Transformer model = masters.converted(masters.device(), type);
  for (size_t i = 0; type == at::kFloat && settings.training.qat_start < 1 && i < model.table().size(); ++i) {
    const auto& [name, master] = masters.parameters()[i];
    if (FakeQuantizer::rounds(model.table()[i], settings.quantization)) {
      model.set_parameter(name, master.detach().clone());
    }
  }
  model.require_grad(true);
  return model;
}

void append(NamedTensors& all, const NamedTensors& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

Trainer::Trainer(TrainingJob job)
    : job_(std::move(job)),
      model_(computing_model(job_.masters, job_.compute_type, job_.settings)),
      schedule_(job_.settings.training, planned_steps(job_.settings.training, job_.data.train->batches())),
      optimizer_(job_.masters, model_, job_.settings.training),
      gradients_(model_, job_.settings.training.gradient_accumulation_steps),
      router_bias_(model_.config(), model_.device(), job_.settings.training.router_bias_update_rate),
      experts_(model_.config(), model_.device()),
      checkpoints_(job_.run.checkpoints(), job_.settings.training.save_total_limit),
      log_(std::make_unique<RunLog>(model_.device(), job_.peak_flops)) {
  session_start_ = last_save_ = Clock::now();
  if (job_.settings.training.ema_decay > 0) ema_.emplace(job_.masters, job_.settings.training.ema_decay);
  if (job_.settings.training.qat_start < 1) {
    fake_quantizer_.emplace(job_.masters, model_, job_.settings.quantization);
  }
  state_.compute_type = compute_type_name(job_.compute_type);
  state_.data_fingerprint = job_.data.fingerprint;
}

Trainer::~Trainer() = default;

void Trainer::resume(const std::filesystem::path& checkpoint) {
  const TrainerState saved = read_trainer_state(checkpoint);
  if (saved.data_fingerprint != state_.data_fingerprint) {
    data_error(checkpoint.string(), ": the training text or its tokenizer has changed since this run started; start a ",
               "new run, with --init ", checkpoint.string(), " to keep what was learned");
  }
  const StateTensors tensors(read_trainer_tensors(checkpoint), (checkpoint / "trainer_state.safetensors").string());
  optimizer_.restore(tensors, saved.updates);
  if (ema_) ema_->restore(tensors);
  router_bias_.restore(tensors);
  experts_.restore(tensors);
  state_ = saved;
  saved_step_ = saved.step;
  const TrainingSettings& settings = job_.settings.training;
  if (state_.batches < 0) state_.batches = state_.step * settings.gradient_accumulation_steps;
  schedule_ = {settings, planned_steps(settings, job_.data.train->batches(), state_.step, state_.batches)};
  state_.compute_type = compute_type_name(job_.compute_type);
  seconds_before_ = saved.seconds;
  done_ = reached_end();
  round_experts();
}

/// Once the share of the run that trains in float is over, and at each step from then on.
void Trainer::round_experts() {
  if (!rounds_experts()) return;
  fake_quantizer_->refresh();
}

bool Trainer::rounds_experts() const {
  return fake_quantizer_ && schedule_.share_done(state_.step, seconds()) >= job_.settings.training.qat_start;
}

TrainingOutcome Trainer::run() {
  const InterruptGuard guard;
  session_start_ = last_save_ = Clock::now();
  log_->open(job_.run.metrics(), state_.step, done_);
  while (!done_) {
    step();
    log_if_due();
    validate_if_due();
    save_if_due();
    if (InterruptGuard::requested() && !done_) {
      save();
      return outcome(TrainingOutcome::End::interrupted);
    }
  }
  return finish();
}

void Trainer::step() {
  const auto start = Clock::now();
  const StepPlan plan = plan_step();
  const std::vector<Batch> batches = next_batches();
  const StepResult result = compute_gradients(model_, batches, job_.settings.training, plan, gradients_);
  if (result.finite()) {
    apply(plan, result);
  } else {
    skip(result);
  }
  gradients_.release();
  return_memory_if_due();
  ++state_.step;
  state_.batches += static_cast<int64_t>(batches.size());
  state_.tokens += result.tokens;
  round_experts();
  done_ = reached_end();
  log_->add(result, since(start),
            training_flops_per_token(model_.config(), plan.experts, job_.settings.training.max_seq_length));
}

void Trainer::return_memory_if_due() const {
  const int64_t interval = job_.settings.device.empty_cache_interval;
  if (interval > 0 && state_.step % interval == 0) return_unused_memory(model_.device());
}

StepPlan Trainer::plan_step() {
  StepPlan plan;
  plan.step = state_.step;
  plan.experts = draw_experts(model_.config(), static_cast<uint64_t>(job_.settings.training.seed), state_.step);
  plan.learning_factor = schedule_.factor(state_.step, seconds());
  plan.router_bias = router_bias_.at_share(schedule_.share_done(state_.step, seconds()));
  return plan;
}

/// Of one step: gradient_accumulation_steps, or what is left of the epochs.
std::vector<Batch> Trainer::next_batches() const {
  const int64_t wanted = job_.settings.training.gradient_accumulation_steps, all = job_.data.train->batches();
  const int64_t count = all > 0 ? std::min(wanted, all - state_.batches) : wanted;
  std::vector<Batch> batches;
  for (int64_t i = 0; i < count; ++i) batches.push_back(job_.data.train->batch(state_.batches + i));
  return batches;
}

double Trainer::epochs() const {
  return static_cast<double>(state_.tokens) / static_cast<double>(std::max<int64_t>(1, job_.data.train_size.tokens));
}

void Trainer::apply(const StepPlan& plan, const StepResult& result) {
  double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, result.target_tokens));
  const double limit = job_.settings.training.max_grad_norm;
  if (limit > 0 && result.gradient_norm > limit) scale *= limit / result.gradient_norm;
  optimizer_.step(gradients_.tensors(), plan.learning_factor, scale);
  state_.updates = optimizer_.updates();
  state_.bad_in_a_row = 0;
  if (ema_) ema_->update(state_.updates);
  if (result.expert_counts.defined()) {
    if (router_bias_.active()) router_bias_.update(result.expert_counts);
    experts_.add(state_.step, result.expert_counts, result.router_entropy);
  }
  state_.smoothed_loss = smoothing * state_.smoothed_loss + (1 - smoothing) * result.loss();
  state_.smoothing_weight = smoothing * state_.smoothing_weight + (1 - smoothing);
  learning_rate_ = job_.settings.training.learning_rate * plan.learning_factor;
}

void Trainer::skip(const StepResult& result) {
  ++state_.bad_steps;
  ++state_.bad_in_a_row;
  log_->warn(cat("step ", state_.step + 1, " skipped: loss ", result.loss(), ", gradient norm ", result.gradient_norm));
  if (state_.bad_in_a_row < job_.settings.training.max_bad_steps) return;
  // The weights that began the first of these steps gave the first loss that is not finite; those before were sound.
  checkpoints_.set_aside_after(state_.step - state_.bad_in_a_row, state_.best_step);
  const auto good = job_.run.latest_checkpoint();
  runtime_failure(
      "training stopped: ", state_.bad_in_a_row, " steps in a row were not finite (training.max_bad_steps). ",
      good ? cat("The last good checkpoint is ", good->string(), "; go on from it with --resume ",
                 shell_quoted(job_.run.root.string()), " and a lower training.learning_rate")
           : std::string("No checkpoint was saved before; start again with a lower training.learning_rate"));
}

void Trainer::log_if_due() {
  TrainRecord record;
  record.step = state_.step;
  record.tokens = state_.tokens;
  record.epoch = epochs();
  record.seconds = seconds();
  record.smoothed_loss = state_.smoothed_loss / state_.smoothing_weight;
  record.learning_rate = learning_rate_;
  record.seconds_left = schedule_.seconds_left(state_.step, record.seconds);
  record.bad_steps = state_.bad_steps;
  log_->show(schedule_.share_done(state_.step, record.seconds), record);
  if (state_.step % job_.settings.training.logging_steps != 0 && !done_) return;
  record.experts = experts_.take();
  if (const auto warning = experts_.warning(record.experts)) log_->warn(*warning);
  log_->write(std::move(record));
}

void Trainer::validate_if_due() {
  const int64_t every = job_.settings.training.eval_steps;
  // The last validation is finish()'s.
  if (!job_.data.validation || every == 0 || state_.step % every != 0 || done_) return;
  const ValidationScore score = validate(ema_.has_value());
  state_.validation_loss = score.loss;
  if (improved(score.loss)) save();
  done_ = done_ || out_of_patience();
}

bool Trainer::improved(double validation_loss) {
  if (!std::isnan(state_.best_validation_loss) && !(validation_loss < state_.best_validation_loss)) {
    ++state_.validations_without_gain;
    return false;
  }
  state_.best_validation_loss = validation_loss;
  state_.best_step = state_.step;
  state_.validations_without_gain = 0;
  return true;
}

ValidationScore Trainer::validate(bool averaged) {
  const auto& source = *job_.data.validation;
  const auto progress = [this](double share) { log_->show_validation(share); };
  const int64_t batches = job_.settings.training.eval_batches;
  const ValidationScore score = averaged ? validate_model(averaged_model(), source, batches, progress)
                                         : validate_model(model_, source, batches, progress);
  ValidationRecord record;
  record.step = state_.step;
  record.seconds = seconds();
  record.loss = score.loss;
  record.bits_per_byte = score.bits_per_byte;
  record.perplexity = score.perplexity;
  record.averaged = averaged;
  log_->write(record);
  return score;
}

/// As it would be exported.
Transformer Trainer::averaged_model() const {
  const Transformer average = ema_->model(job_.compute_type);
  return rounds_experts() ? FakeQuantizer::rounded(average, job_.settings.quantization) : average;
}

void Trainer::save_if_due() {
  const TrainingSettings& settings = job_.settings.training;
  const bool by_steps = settings.save_steps > 0 && state_.step % settings.save_steps == 0;
  const bool by_time = settings.save_minutes > 0 && since(last_save_) > 60 * settings.save_minutes;
  if (by_steps || by_time || done_) save();
}

void Trainer::save() {
  if (saved_step_ == state_.step) return;
  state_.seconds = seconds();
  NamedTensors tensors = optimizer_.state();
  if (ema_) append(tensors, ema_->state());
  append(tensors, router_bias_.state());
  append(tensors, experts_.state());
  checkpoints_.save(state_, tensors, job_.masters, *job_.tokenizer, job_.settings.generation);
  saved_step_ = state_.step;
  last_save_ = Clock::now();
}

double Trainer::seconds() const {
  return seconds_before_ + since(session_start_);
}

bool Trainer::out_of_patience() const {
  const int64_t patience = job_.settings.training.early_stopping_patience;
  return patience > 0 && state_.validations_without_gain >= patience;
}

bool Trainer::reached_end() const {
  return schedule_.share_done(state_.step, seconds()) >= 1 || out_of_patience();
}

}  // namespace xinslm
