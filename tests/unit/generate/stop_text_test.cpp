#include "xinslm/generate/stop_text.h"

#include <gtest/gtest.h>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

TEST(StopText, EndsBeforeAStopThatComesInPieces) {
  StopText stop({"END"});
  EXPECT_EQ(stop.push("one E"), "one ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("D two"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("three"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, GivesBackWhatTurnedOutToBeOrdinary) {
  StopText stop({"END"});
  EXPECT_EQ(stop.push("EN"), "");
  EXPECT_EQ(stop.push("OUGH"), "ENOUGH");
  EXPECT_EQ(stop.push("EE"), "E");
  EXPECT_EQ(stop.push("ND"), "");
  EXPECT_TRUE(stop.stopped());
}

TEST(StopText, TheFirstOfSeveralCounts) {
  StopText stop({"dog", "cat"});
  EXPECT_EQ(stop.push("a cat and a dog"), "a ");
  EXPECT_TRUE(stop.stopped());
}

TEST(StopText, FinishGivesWhatWasHeld) {
  StopText stop({"\n\n"});
  EXPECT_EQ(stop.push("line\n"), "line");
  EXPECT_EQ(stop.finish(), "\n");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopText, WithoutStopsNothingIsHeld) {
  StopText stop({});
  EXPECT_EQ(stop.push("text"), "text");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, RejectsAnEmptyStop) {
  EXPECT_THROW(StopText({"a", ""}), Error);
}

}  // namespace
}  // namespace xinslm
