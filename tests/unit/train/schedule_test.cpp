#include "xinslm/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

TrainingSettings settings_for(const std::string& type) {
  TrainingSettings settings;
  settings.lr_scheduler_type = type;
  settings.warmup_steps = 10;
  settings.min_lr_ratio = 0.1;
  return settings;
}

}  // namespace

TEST(Schedule, RisesLinearlyToThePeakInTheWarmUp) {
  const Schedule schedule(settings_for("cosine"), 110);
  EXPECT_DOUBLE_EQ(schedule.factor(0, 0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.factor(4, 0), 0.5);
  EXPECT_DOUBLE_EQ(schedule.factor(9, 0), 1);
  EXPECT_DOUBLE_EQ(schedule.factor(10, 0), 1);
}

TEST(Schedule, CosineIsHalfWayAtHalfTimeAndEndsAtTheSmallestRate) {
  const Schedule schedule(settings_for("cosine"), 110);
  EXPECT_NEAR(schedule.factor(60, 0), 0.55, 1e-12);
  EXPECT_NEAR(schedule.factor(110, 0), 0.1, 1e-12);
  EXPECT_NEAR(schedule.factor(1000, 0), 0.1, 1e-12);
}

TEST(Schedule, LinearAndConstant) {
  EXPECT_NEAR(Schedule(settings_for("linear"), 110).factor(85, 0), 0.1 + 0.9 * 0.25, 1e-12);
  EXPECT_DOUBLE_EQ(Schedule(settings_for("constant"), 110).factor(109, 0), 1);
}

TEST(Schedule, WsdFallsOverItsLastShareOnly) {
  TrainingSettings settings = settings_for("wsd");
  settings.wsd_decay_share = 0.2;
  const Schedule schedule(settings, 110);
  EXPECT_DOUBLE_EQ(schedule.factor(89, 0), 1);
  EXPECT_NEAR(schedule.factor(100, 0), 0.1 + 0.9 * 0.5, 1e-12);
  settings.wsd_decay_share = 0;
  EXPECT_DOUBLE_EQ(Schedule(settings, 110).factor(109, 0), 1);
}

TEST(Schedule, IsLaidOverTheTimeWhenTimeIsTheLimit) {
  TrainingSettings settings = settings_for("linear");
  settings.max_minutes = 2;
  const Schedule schedule(settings, 0);
  EXPECT_NEAR(schedule.factor(1000, 60), 0.1 + 0.9 * 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(schedule.share_done(1000, 30), 0.25);
  EXPECT_DOUBLE_EQ(schedule.share_done(1000, 500), 1);
  EXPECT_DOUBLE_EQ(schedule.seconds_left(1000, 30), 90);
}

TEST(Schedule, TheNearerOfTwoLimitsCounts) {
  TrainingSettings settings = settings_for("linear");
  settings.max_minutes = 1;
  const Schedule schedule(settings, 100);
  EXPECT_DOUBLE_EQ(schedule.share_done(10, 30), 0.5);
  EXPECT_DOUBLE_EQ(schedule.share_done(90, 30), 0.9);
}

TEST(Schedule, TimeLeftIsUnknownBeforeTheFirstStep) {
  EXPECT_TRUE(std::isnan(Schedule(settings_for("linear"), 100).seconds_left(0, 0)));
}

TEST(PlannedSteps, ComeFromStepsTimeOrEpochs) {
  TrainingSettings settings;
  settings.gradient_accumulation_steps = 4;
  EXPECT_EQ(planned_steps(settings, 200), 50);
  settings.max_minutes = 1;
  EXPECT_EQ(planned_steps(settings, 0), 0);
  settings.max_steps = 7;
  EXPECT_EQ(planned_steps(settings, 0), 7);
}

TEST(PlannedSteps, LeaveNoBatchOut) {
  TrainingSettings settings;
  settings.gradient_accumulation_steps = 8;
  EXPECT_EQ(planned_steps(settings, 7), 1);
  EXPECT_EQ(planned_steps(settings, 8), 1);
  EXPECT_EQ(planned_steps(settings, 9), 2);
  // A run that ended with a step of one batch, and is to see as many again: 8 and 1, then 8 and 1.
  EXPECT_EQ(planned_steps(settings, 18, 2, 9), 4);
  EXPECT_EQ(planned_steps(settings, 9, 2, 9), 2);
}

TEST(PlannedSteps, RefusesARunWithoutAStep) {
  TrainingSettings settings;
  settings.num_train_epochs = 0;
  EXPECT_THROW(planned_steps(settings, 0), Error);
}

}  // namespace xinslm
