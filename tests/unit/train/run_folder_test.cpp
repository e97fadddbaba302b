#include "xinslm/train/run_folder.h"

#include <gtest/gtest.h>

#include "unit/format/temporary_folder.h"
#include "unit/generate/byte_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/train/checkpoint.h"
#include "xinslm/train/resume_settings.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

std::string usage_error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

void save_at(const Checkpoints& checkpoints, int64_t step, int64_t best_step) {
  TrainerState state;
  state.step = step;
  state.best_step = best_step;
  checkpoints.save(state, {}, tiny_model(), ByteTokenizer());
}

}  // namespace

using RunFolderTest = TemporaryFolder;

TEST_F(RunFolderTest, CheckpointsKeepTheNewestAndTheBest) {
  const RunFolder run{folder_ / "run"};
  const Checkpoints checkpoints(run.checkpoints(), 2);
  save_at(checkpoints, 10, 10);
  for (const int64_t step : {20, 30, 40}) save_at(checkpoints, step, 10);
  EXPECT_TRUE(checkpoints.exists(10));
  EXPECT_FALSE(checkpoints.exists(20));
  EXPECT_TRUE(checkpoints.exists(30));
  EXPECT_TRUE(checkpoints.exists(40));
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(40));
  EXPECT_EQ(fs::read_symlink(run.checkpoints() / "best"), checkpoints.path(10).filename());
}

TEST_F(RunFolderTest, StateComesBackAsItWas) {
  const RunFolder run{folder_ / "run"};
  TrainerState state;
  state.step = 7;
  state.seconds = 0.1;
  state.smoothed_loss = 1.0 / 3;
  state.data_fingerprint = "abc";
  Checkpoints(run.checkpoints(), 1).save(state, {}, tiny_model(), ByteTokenizer());
  const TrainerState read = read_trainer_state(*run.latest_checkpoint());
  EXPECT_EQ(read.step, 7);
  EXPECT_EQ(read.seconds, state.seconds);
  EXPECT_EQ(read.smoothed_loss, state.smoothed_loss);
  EXPECT_TRUE(std::isnan(read.validation_loss));
  EXPECT_EQ(read.data_fingerprint, "abc");
}

TEST_F(RunFolderTest, DamagedStateIsAnErrorThatNamesTheFile) {
  put("trainer_state.json", "{\"step\": 3}");
  EXPECT_TRUE(contains(data_error_of([&] { read_trainer_state(folder_); }), "trainer_state.json"));
}

TEST_F(RunFolderTest, AFolderWithARunIsNotOverwritten) {
  const RunFolder run{folder_ / "run"};
  EXPECT_NO_THROW(check_new_run(run, false));
  save_at(Checkpoints(run.checkpoints(), 1), 5, -1);
  EXPECT_TRUE(contains(usage_error_of([&] { check_new_run(run, false); }), "--resume"));
  fs::create_directories(run.model());
  std::ofstream(run.model() / "config.json") << "{}";
  EXPECT_TRUE(contains(usage_error_of([&] { check_new_run(run, false); }), "--force"));
  EXPECT_NO_THROW(check_new_run(run, true));
}

TEST_F(RunFolderTest, ClearingTouchesOnlyWhatARunLeaves) {
  const RunFolder run{folder_};
  save_at(Checkpoints(run.checkpoints(), 1), 5, -1);
  put("notes.txt", "mine");
  clear_run(run);
  EXPECT_FALSE(fs::exists(run.checkpoints()));
  EXPECT_TRUE(fs::exists(folder_ / "notes.txt"));
}

TEST_F(RunFolderTest, TheNewestRunIsFound) {
  EXPECT_TRUE(contains(data_error_of([&] { find_run(folder_); }), "no run to resume"));
  for (const std::string name : {"old", "new"}) {
    const RunFolder run{folder_ / name};
    save_at(Checkpoints(run.checkpoints(), 1), 5, -1);
    std::ofstream(run.settings()) << "model: {}\n";
  }
  fs::last_write_time(folder_ / "old" / "config.yaml", fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_EQ(find_run(folder_).root, folder_ / "new");
  EXPECT_EQ(find_run(folder_ / "old").root, folder_ / "old");
}

TEST(ResumedSettings, MayChangeLimitsButNotTheModelOrTheBatch) {
  const Settings before = default_settings();
  Settings now = before;
  now.training.max_steps = 99;
  now.training.learning_rate = 1;
  now.training.logging_steps = 3;
  EXPECT_NO_THROW(check_resumed_settings(before, now, "run"));
  now.model.hidden_size += 64;
  now.training.per_device_train_batch_size += 1;
  const std::string message = usage_error_of([&] { check_resumed_settings(before, now, "run"); });
  EXPECT_TRUE(contains(message, "model.hidden_size"));
  EXPECT_TRUE(contains(message, "training.per_device_train_batch_size"));
  EXPECT_FALSE(contains(message, "max_steps"));
}

}  // namespace xinslm
