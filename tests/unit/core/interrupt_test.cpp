#include "xinslm/core/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>

namespace xinslm {

TEST(InterruptGuard, TurnsCtrlCIntoAFlag) {
  const InterruptGuard guard;
  EXPECT_FALSE(InterruptGuard::requested());
  std::raise(SIGINT);
  EXPECT_TRUE(InterruptGuard::requested());
  InterruptGuard::clear();
  EXPECT_FALSE(InterruptGuard::requested());
  std::raise(SIGINT);
  EXPECT_TRUE(InterruptGuard::requested());
}

TEST(InterruptGuard, NestedGuardsKeepTheFlag) {
  const InterruptGuard outer;
  {
    const InterruptGuard inner;
    std::raise(SIGINT);
  }
  EXPECT_TRUE(InterruptGuard::requested());
}

TEST(InterruptGuardDeathTest, SecondCtrlCEndsTheProgramAtOnce) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::ExitedWithCode(130), "");
}

TEST(InterruptGuardDeathTest, WithoutAGuardCtrlCEndsTheProgramAsUsual) {
  EXPECT_EXIT(
      {
        { const InterruptGuard guard; }
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace xinslm
