#include "xinslm/train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <csignal>

#include "unit/format/temporary_folder.h"
#include "unit/generate/byte_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/core/random.h"
#include "xinslm/train/flops.h"
#include "xinslm/train/metrics.h"

namespace xinslm {
namespace {

constexpr int64_t rows = 4, length = 16;

/// Sequences that count upwards from a random start: learnable within a few steps.
Batch counting_batch(uint64_t key) {
  Batch batch;
  RandomStream random({5, key});
  const at::Tensor text = at::empty({rows, length + 1}, at::kLong);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = static_cast<int64_t>(random.below(200));
    text[row].copy_(at::arange(start, start + length + 1).remainder(200));
  }
  batch.tokens = text.narrow(1, 0, length).contiguous();
  batch.targets = text.narrow(1, 1, length).contiguous();
  batch.target_tokens = batch.target_bytes = rows * length;
  return batch;
}

class CountingSource : public BatchSource {
 public:
  Batch batch(int64_t position) override {
    if (position == interrupt_at) std::raise(SIGINT);
    return counting_batch(static_cast<uint64_t>(position));
  }
  int64_t batches_per_epoch() const override { return 20; }
  int64_t batches() const override { return end; }
  int64_t interrupt_at = -1, end = 0;
};

class CountingEval : public EvalSource {
 public:
  int64_t batches() const override { return 2; }
  Batch batch(int64_t index) const override { return counting_batch(1000 + static_cast<uint64_t>(index)); }
  const TextSize& size() const override { return size_; }

 private:
  TextSize size_;
};

Settings quick_settings() {
  Settings settings = default_settings();
  settings.training.max_steps = 12;
  settings.training.warmup_steps = 2;
  settings.training.learning_rate = 0.01;
  settings.training.per_device_train_batch_size = rows;
  settings.training.max_seq_length = length;
  settings.training.eval_steps = 4;
  settings.training.save_steps = 5;
  settings.training.logging_steps = 2;
  return settings;
}

/// Every feature whose state has to survive a resume.
Settings full_settings() {
  Settings settings = quick_settings();
  settings.training.gradient_accumulation_steps = 2;
  settings.training.ema_decay = 0.9;
  settings.training.router_bias_update_rate = 0.01;
  settings.training.hidden_dropout = 0.1;
  settings.training.label_smoothing = 0.1;
  settings.training.optimizer = "muon";
  return settings;
}

class TrainerTest : public TemporaryFolder {
 protected:
  TrainingJob job(const Settings& settings, const std::string& name, at::ScalarType type = at::kFloat) const {
    ModelConfig config = tiny_config();
    config.initializer_range = 0.05;
    config.elastic_top_k = true;
    TrainingData data;
    data.train = std::make_unique<CountingSource>();
    data.validation = std::make_unique<CountingEval>();
    data.fingerprint = "counting";
    return {.settings = settings,
            .run = run(name),
            .tokenizer = std::make_shared<ByteTokenizer>(),
            .data = std::move(data),
            .masters = Transformer(config, at::kCPU, at::kFloat, 3),
            .compute_type = type};
  }
  RunFolder run(const std::string& name) const { return {folder_ / name}; }
  std::string weights(const std::string& name) const { return read_file(run(name).model() / "model.safetensors"); }

  /// Trains for `steps`, then goes on in a new trainer from the newest checkpoint.
  void train_in_two_parts(const Settings& settings, const std::string& name, at::ScalarType type) const {
    TrainingJob first = job(settings, name, type);
    static_cast<CountingSource&>(*first.data.train).interrupt_at = 7 * settings.training.gradient_accumulation_steps;
    EXPECT_EQ(Trainer(std::move(first)).run().end, TrainingOutcome::End::interrupted);
    EXPECT_FALSE(run(name).finished());
    TrainingJob rest = job(settings, name, type);
    rest.masters = read_masters(*run(name).latest_checkpoint(), at::kCPU);
    Trainer second(std::move(rest));
    second.resume(*run(name).latest_checkpoint());
    EXPECT_EQ(second.state().step, 8);
    EXPECT_EQ(second.run().end, TrainingOutcome::End::finished);
  }
};

}  // namespace

TEST_F(TrainerTest, LearnsAndLeavesModelMetricsAndReport) {
  Settings settings = quick_settings();
  settings.training.max_steps = 40;
  settings.training.eval_steps = 16;
  const TrainingOutcome outcome = Trainer(job(settings, "run")).run();
  EXPECT_EQ(outcome.step, 40);
  EXPECT_EQ(outcome.tokens, 40 * rows * length);
  const MetricsHistory history = read_metrics(run("run").metrics());
  EXPECT_LT(history.train.back().loss, 0.8 * history.train.front().loss);
  ASSERT_EQ(history.train.size(), 20u);
  EXPECT_EQ(history.train[0].experts.size(), 2u);
  EXPECT_EQ(history.validation.size(), 3u);  // steps 16 and 32, and the end
  EXPECT_TRUE(run("run").finished());
  EXPECT_TRUE(std::filesystem::exists(run("run").report()));
  EXPECT_EQ(outcome.saved, "the last weights");
}

TEST_F(TrainerTest, TheSameSeedGivesTheSameBytes) {
  Trainer(job(full_settings(), "one")).run();
  Trainer(job(full_settings(), "two")).run();
  EXPECT_TRUE(weights("one") == weights("two"));
  Settings other = full_settings();
  other.training.seed = 4;
  Trainer(job(other, "three")).run();
  EXPECT_FALSE(weights("one") == weights("three"));
}

TEST_F(TrainerTest, AResumedRunEndsInTheSameBytesAsOneThatNeverStopped) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const std::string suffix = type == at::kFloat ? "32" : "16";
    Trainer(job(full_settings(), "straight" + suffix, type)).run();
    train_in_two_parts(full_settings(), "stopped" + suffix, type);
    EXPECT_TRUE(weights("straight" + suffix) == weights("stopped" + suffix)) << suffix;
    const auto last = "checkpoints/step-00000012/trainer_state.safetensors";
    EXPECT_TRUE(read_file(folder_ / ("straight" + suffix) / last) == read_file(folder_ / ("stopped" + suffix) / last));
  }
}

TEST_F(TrainerTest, FrozenParametersCostNothingAndKeepTheirBits) {
  const auto trained = [](const Parameter& parameter) { return parameter.role == ParameterRole::expert; };
  Settings settings = full_settings();
  settings.training.gradient_checkpointing = true;
  TrainingJob frozen = job(settings, "run", at::kBFloat16);
  frozen.masters.train_only(trained);
  const auto start = job(settings, "run").masters.parameters();
  Trainer(std::move(frozen)).run();
  const auto checkpoint = *run("run").latest_checkpoint();
  for (const auto& [name, tensor] : read_trainer_tensors(checkpoint)) {
    const bool of_weights = name.starts_with("model.") || name.starts_with("lm_head.");
    EXPECT_TRUE(!of_weights || contains(name, ".mlp.experts.")) << name;
  }
  const Transformer after = read_masters(checkpoint, at::kCPU, trained);
  for (size_t i = 0; i < start.size(); ++i) {
    const at::Tensor& found = after.parameters()[i].second;
    EXPECT_EQ(at::equal(found, start[i].second), !after.table()[i].trained) << start[i].first;
    EXPECT_EQ(is_mapped(found), !after.table()[i].trained) << start[i].first;
  }
}

TEST_F(TrainerTest, GoesOnWithFrozenParametersToTheBit) {
  const auto trained = [](const Parameter& parameter) { return parameter.layer == 1; };
  const auto frozen_job = [&](const std::string& name) {
    TrainingJob made = job(full_settings(), name);
    made.masters.train_only(trained);
    return made;
  };
  Trainer(frozen_job("straight")).run();
  TrainingJob first = frozen_job("stopped");
  static_cast<CountingSource&>(*first.data.train).interrupt_at =
      7 * full_settings().training.gradient_accumulation_steps;
  Trainer(std::move(first)).run();
  TrainingJob rest = job(full_settings(), "stopped");
  rest.masters = read_masters(*run("stopped").latest_checkpoint(), at::kCPU, trained);
  Trainer second(std::move(rest));
  second.resume(*run("stopped").latest_checkpoint());
  second.run();
  EXPECT_TRUE(weights("straight") == weights("stopped"));
}

TEST_F(TrainerTest, RefusesToGoOnWithOtherData) {
  Trainer(job(quick_settings(), "run")).run();
  TrainingJob other = job(quick_settings(), "run");
  other.data.fingerprint = "changed";
  Trainer trainer(std::move(other));
  EXPECT_TRUE(contains(data_error_of([&] { trainer.resume(*run("run").latest_checkpoint()); }), "has changed"));
}

TEST_F(TrainerTest, KnowsThatARunIsFinished) {
  Trainer(job(quick_settings(), "run")).run();
  Trainer again(job(quick_settings(), "run"));
  again.resume(*run("run").latest_checkpoint());
  EXPECT_TRUE(again.done());
}

TEST_F(TrainerTest, TheLastStepTakesWhatIsLeftOfTheEpochs) {
  Settings settings = quick_settings();
  settings.training.max_steps = 0;
  settings.training.gradient_accumulation_steps = 8;
  const auto epochs = [&](int64_t batches) {
    TrainingJob made = job(settings, "run");
    static_cast<CountingSource&>(*made.data.train).end = batches;
    made.data.train_size.tokens = 9 * rows * length;
    return made;
  };
  const TrainingOutcome once = Trainer(epochs(9)).run();
  EXPECT_EQ(once.step, 2);
  EXPECT_EQ(once.tokens, 9 * rows * length);
  EXPECT_DOUBLE_EQ(once.epochs, 1);
  EXPECT_DOUBLE_EQ(read_metrics(run("run").metrics()).train.back().epoch, 1);

  TrainingJob longer = epochs(18);
  longer.masters = read_masters(*run("run").latest_checkpoint(), at::kCPU);
  Trainer second(std::move(longer));
  second.resume(*run("run").latest_checkpoint());
  EXPECT_EQ(second.state().batches, 9);
  const TrainingOutcome twice = second.run();
  EXPECT_EQ(twice.step, 4);
  EXPECT_EQ(twice.tokens, 18 * rows * length);
  EXPECT_DOUBLE_EQ(twice.epochs, 2);
}

TEST_F(TrainerTest, StopsAfterTooManyStepsThatAreNotFinite) {
  Settings settings = quick_settings();
  settings.training.max_bad_steps = 3;
  TrainingJob broken = job(settings, "run");
  broken.masters.parameters()[0].second.fill_(std::numeric_limits<float>::quiet_NaN());
  Trainer trainer(std::move(broken));
  try {
    trainer.run();
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::runtime);
    EXPECT_TRUE(contains(error.what(), "3 steps in a row"));
  }
}

TEST_F(TrainerTest, StopsEarlyAndKeepsTheBestCheckpoint) {
  Settings settings = quick_settings();
  settings.training.max_steps = 60;
  settings.training.early_stopping_patience = 2;
  settings.training.learning_rate = 3;  // far too high: validation soon gets worse
  settings.training.warmup_steps = 40;
  const TrainingOutcome outcome = Trainer(job(settings, "run")).run();
  EXPECT_EQ(outcome.end, TrainingOutcome::End::early_stopped);
  EXPECT_LT(outcome.step, 60);
  EXPECT_TRUE(contains(outcome.saved, "best checkpoint"));
}

TEST_F(TrainerTest, SavesTheTypeAskedFor) {
  Settings settings = quick_settings();
  settings.training.max_steps = 2;
  Trainer(job(settings, "wide")).run();
  settings.training.save_type = "bfloat16";
  Trainer(job(settings, "narrow")).run();
  EXPECT_LT(weights("narrow").size(), 0.7 * static_cast<double>(weights("wide").size()));
}

TEST(TrainingFlops, CountParametersAndTheKeysThatAreSeen) {
  ModelConfig config = tiny_config();
  const double parameters = 6.0 * static_cast<double>(count_parameters(config).active);
  // Layer 0 sees windows of 8 keys, layer 1 all: over 16 tokens 6.25 and 8.5 on average.
  EXPECT_DOUBLE_EQ(training_flops_per_token(config, 2, 16), parameters + 12 * 32 * (6.25 + 8.5));
  EXPECT_LT(training_flops_per_token(config, 1, 16), training_flops_per_token(config, 2, 16));
}

}  // namespace xinslm
