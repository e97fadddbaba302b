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

TEST(InterruptGuard, EndsOfTheSystemAreFlagsToo) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    const InterruptGuard guard;
    std::raise(signal);
    EXPECT_EQ(InterruptGuard::exit_code(), 128 + signal);
    InterruptGuard::clear();  // is for Ctrl-C
    EXPECT_TRUE(InterruptGuard::requested());
    std::raise(signal);  // a terminal that closes and its shell both send it
    EXPECT_THROW(InterruptGuard::check(), Interrupted);
  }
}

TEST(InterruptGuard, NohupStays) {
  std::signal(SIGHUP, SIG_IGN);
  const InterruptGuard guard;
  std::raise(SIGHUP);
  EXPECT_FALSE(InterruptGuard::requested());
  std::signal(SIGHUP, SIG_DFL);
}

TEST(InterruptGuardDeathTest, CtrlCAfterAnotherSignalEndsTheProgramAtOnce) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard;
        std::raise(SIGTERM);
        std::raise(SIGINT);
      },
      ::testing::ExitedWithCode(143), "");
}

TEST(InterruptGuardDeathTest, AtAPromptOnlyCtrlCIsHeld) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard(InterruptGuard::Signals::ctrl_c);
        std::raise(SIGINT);
        std::raise(SIGTERM);
      },
      ::testing::KilledBySignal(SIGTERM), "");
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
