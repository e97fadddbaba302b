#include "xinslm/train/run_folder.h"

#include <gtest/gtest.h>

#include "unit/format/temporary_folder.h"
#include "unit/generate/byte_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/format/model_folder.h"
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
  write_model_config(run.model(), tiny_model().config(), "float32");
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
  fs::last_write_time(folder_ / "old" / "run.yaml", fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_EQ(find_run(folder_).root, folder_ / "new");
  EXPECT_EQ(find_run(folder_ / "old").root, folder_ / "old");
}

TEST_F(RunFolderTest, WhatNoRunHasWrittenIsNotReplaced) {
  const RunFolder run{folder_};
  put("config.yaml", "mine");
  put("notes.txt", "mine");
  EXPECT_NO_THROW(check_new_run(run, true));
  for (const char* const name : {"model/notes.txt", "float/config.json", "checkpoints/step-00000005/notes.txt",
                                 "checkpoints/mine/a", "metrics.jsonl", "report.html", "run.yaml"}) {
    const fs::path file = folder_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "{\"mine\": 1}";
    const std::string message = usage_error_of([&] { check_new_run(run, true); });
    EXPECT_TRUE(contains(message, name) || contains(message, "checkpoints/mine")) << name << ": " << message;
    EXPECT_TRUE(contains(usage_error_of([&] { check_run_parts(run); }), "did not write")) << name;
    fs::remove_all(file);
    if (contains(name, "mine")) fs::remove_all(file.parent_path());
  }
}

TEST_F(RunFolderTest, TheNewestWholeCheckpointIsGoneOnFrom) {
  const RunFolder run{folder_};
  const Checkpoints checkpoints(run.checkpoints(), 4);
  for (const int64_t step : {10, 20, 30, 40}) save_at(checkpoints, step, 20);
  fs::remove_all(checkpoints.path(40));
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(30));
  fs::resize_file(checkpoints.path(30) / "model.safetensors", 100);
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(20));
  fs::remove(checkpoints.path(20) / "generation_config.json");
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(10));
  fs::create_directories(run.checkpoints() / "step-99999999999999999999");
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(10));
  fs::remove(run.checkpoints() / "step-99999999999999999999");
  EXPECT_TRUE(contains(usage_error_of([&] { check_new_run(run, false); }), "--resume"));
  fs::remove(checkpoints.path(10) / "trainer_state.json");
  EXPECT_TRUE(contains(usage_error_of([&] { check_new_run(run, false); }), "none of them whole"));
  // What is not whole is replaced when the run comes there again.
  save_at(checkpoints, 30, -1);
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(30));
}

TEST_F(RunFolderTest, ACopyWithLinksFollowedIsARunAgain) {
  const RunFolder run{folder_ / "run"}, copy{folder_ / "copy"};
  const Checkpoints checkpoints(run.checkpoints(), 2), copied(copy.checkpoints(), 2);
  for (const int64_t step : {10, 20}) save_at(checkpoints, step, 10);
  fs::copy(run.root, copy.root, fs::copy_options::recursive);  // follows links
  ASSERT_FALSE(fs::is_symlink(copy.checkpoints() / "latest"));
  fs::remove_all(copied.path(20));  // the link's copy is the only one
  copied.repair();
  EXPECT_EQ(copy.latest_checkpoint(), copied.path(20));
  EXPECT_EQ(fs::read_symlink(copy.checkpoints() / "latest"), copied.path(20).filename());
  EXPECT_EQ(fs::read_symlink(copy.checkpoints() / "best"), copied.path(10).filename());
}

TEST_F(RunFolderTest, BestPointsAtNothingThatIsGone) {
  const RunFolder run{folder_};
  const Checkpoints checkpoints(run.checkpoints(), 3);
  for (const int64_t step : {10, 20}) save_at(checkpoints, step, 20);
  fs::remove_all(checkpoints.path(20));
  checkpoints.repair();
  EXPECT_EQ(fs::read_symlink(run.checkpoints() / "latest"), checkpoints.path(10).filename());
  EXPECT_FALSE(fs::exists(fs::symlink_status(run.checkpoints() / "best")));
}

TEST_F(RunFolderTest, OneFromBeforeTheLossesWentBadIsKept) {
  const RunFolder run{folder_};
  const Checkpoints checkpoints(run.checkpoints(), 1);
  save_at(checkpoints, 10, -1);
  for (const int64_t step : {20, 21, 22}) {  // no loss after the one that step 20 began with was finite
    TrainerState state;
    state.step = step;
    state.bad_in_a_row = step - 20;
    checkpoints.save(state, {}, tiny_model(), ByteTokenizer());
  }
  EXPECT_TRUE(checkpoints.exists(10));
  checkpoints.set_aside_after(19, -1);
  EXPECT_EQ(run.latest_checkpoint(), checkpoints.path(10));
  EXPECT_EQ(fs::read_symlink(run.checkpoints() / "latest"), checkpoints.path(10).filename());
  EXPECT_TRUE(fs::exists(run.checkpoints() / "not-finite-step-00000022"));
  EXPECT_NO_THROW(check_run_parts(run));
}

TEST_F(RunFolderTest, SettingsOfEarlierVersionsAreFound) {
  const RunFolder run{folder_};
  put("config.yaml", "model: {}\n");
  EXPECT_FALSE(run.saved_settings());  // somebody's
  put("metrics.jsonl", "");
  EXPECT_EQ(run.saved_settings(), folder_ / "config.yaml");
  put("run.yaml", "model: {}\n");
  EXPECT_EQ(run.saved_settings(), run.settings());
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
