#include "xinslm/model/estimate.h"

#include <gtest/gtest.h>

#include "unit/model/small_model.h"
#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

constexpr double gib = 1 << 30;

TEST(WeightMemory, IsThatOfThePublishedCheckpoints) {
  // The checkpoints are "about 12.8 GiB" and "about 60.8 GiB" (openai/gpt-oss model card).
  EXPECT_NEAR(static_cast<double>(weight_memory(preset_model("gpt-oss-20b")).mxfp4) / gib, 12.8, 0.05);
  EXPECT_NEAR(static_cast<double>(weight_memory(preset_model("gpt-oss-120b")).mxfp4) / gib, 60.8, 0.05);
  EXPECT_EQ(weight_memory(preset_model("gpt-oss-20b")).float32, 4 * int64_t{20'914'757'184});
}

TEST(KvCacheMemory, WindowedLayersStopGrowing) {
  const ModelConfig config = preset_model("gpt-oss-20b");
  // Twelve full layers of 8 heads of 64, keys and values, 2 bytes: 24.6 KB a token.
  EXPECT_EQ(kv_cache_memory(config, 1, 10001, at::kBFloat16) - kv_cache_memory(config, 1, 10000, at::kBFloat16), 24576);
}

TEST(KvCacheMemory, IsWhatACacheHolds) {
  ModelConfig config = small_config();
  config.max_position_embeddings = 2048;
  KvCache cache(config, 2, at::kCPU, at::kFloat);
  const Transformer model = small_model(config);
  ForwardOptions options;
  options.kv_cache = &cache;
  model.hidden_states(some_tokens(2, 1024), options);
  EXPECT_LE(cache.bytes(), kv_cache_memory(config, 2, 1024, at::kFloat));
  EXPECT_GT(cache.bytes(), kv_cache_memory(config, 2, 1024, at::kFloat) / 2);
}

Settings large_run() {
  Settings settings = default_settings();
  settings.model = preset_model("light");
  settings.training.per_device_train_batch_size = 32;
  settings.training.max_seq_length = 1024;
  settings.training.gradient_checkpointing = false;
  settings.device.memory_limit = 40;
  return settings;
}

TEST(TrainingMemory, EachPartFollowsItsSetting) {
  const Settings settings = large_run();
  const TrainingMemory before = training_memory(settings);
  Settings changed = settings;
  changed.training.gradient_checkpointing = true;
  EXPECT_LT(training_memory(changed).activations, before.activations / 2);
  changed = settings;
  changed.training.per_device_train_batch_size = 16;
  EXPECT_LT(training_memory(changed).activations, before.activations);
  changed = settings;
  changed.training.compute_type = "bfloat16";
  EXPECT_LT(training_memory(changed).activations, before.activations);
  EXPECT_GT(training_memory(changed).weights, before.weights);
  changed = settings;
  changed.training.ema_decay = 0.99;
  EXPECT_EQ(training_memory(changed).average, 4 * count_parameters(settings.model).total);
  changed = settings;
  changed.training.optimizer = "muon";
  EXPECT_LT(training_memory(changed).optimizer, before.optimizer);
}

TEST(TrainingMemory, ARunThatFitsIsLetThrough) {
  Settings settings = large_run();
  settings.device.memory_limit = 4000;
  EXPECT_NO_THROW(require_training_memory(settings));
}

TEST(TrainingMemory, ARunThatCannotFitIsRefusedWithThreeThingsToDo) {
  const Settings settings = large_run();
  try {
    require_training_memory(settings);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    const std::string text = error.what();
    EXPECT_NE(text.find("40.0 GiB"), std::string::npos) << text;
    EXPECT_NE(text.find("--set training.gradient_checkpointing=true"), std::string::npos) << text;
    EXPECT_NE(text.find("--set training.per_device_train_batch_size="), std::string::npos) << text;
    EXPECT_NE(text.find("--set training.max_seq_length="), std::string::npos) << text;
  }
}

TEST(TrainingMemory, EveryRemedyIsEnoughByItself) {
  const Settings settings = large_run();
  for (const double limit : {6.0, 10.0, 26.0, 30.0, 40.0, 60.0}) {
    const auto available = static_cast<int64_t>(limit * gib);
    for (const MemoryRemedy& remedy : memory_remedies(settings, available)) {
      EXPECT_LE(remedy.needed, available) << remedy.change;
      if (remedy.change.starts_with("--")) continue;
      // What is printed is what --set takes.
      const Settings changed = parse_settings(dump_settings(settings), "test", {"", "", {remedy.change}});
      EXPECT_EQ(training_memory(changed).total(), remedy.needed) << remedy.change;
    }
  }
}

TEST(TrainingMemory, WhereTheWeightsAloneAreTooMuchASmallerModelIsNamed) {
  Settings settings = large_run();
  settings.model = preset_model("performance");
  const auto remedies = memory_remedies(settings, static_cast<int64_t>(24 * gib));
  ASSERT_FALSE(remedies.empty());
  bool variant = false;
  for (const MemoryRemedy& remedy : remedies) variant = variant || remedy.change.starts_with("--model-variant");
  EXPECT_TRUE(variant);
}

}  // namespace
