#include "xinslm/core/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <vector>

using namespace xinslm;

TEST(ThreadTeam, SharesCoverEverythingOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    for (const int64_t count : {0, 1, 5, 64, 1000}) {
      std::vector<int> seen(static_cast<size_t>(count));
      run_team(threads, [&](TeamMember& member) {
        const auto range = member.share(count, 16);
        for (int64_t i = range.begin; i < range.end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), count) << threads << " threads";
    }
  }
}

TEST(ThreadTeam, PiecesAreHandedOutOnceInEachPhase) {
  constexpr int phases = 50;
  constexpr int64_t count = 103, piece = 4;
  for (const int threads : {1, 2, 3, 7}) {
    std::vector<std::vector<int>> seen(phases, std::vector<int>(count));
    run_team(threads, [&](TeamMember& member) {
      for (std::vector<int>& of_phase : seen) {
        member.share_out(count, piece, [&](const TeamMember::Range& range) {
          for (int64_t i = range.begin; i < range.end; ++i) ++of_phase[static_cast<size_t>(i)];
        });
        member.wait_for_all();
      }
    });
    for (const std::vector<int>& of_phase : seen) EXPECT_EQ(of_phase, std::vector<int>(count, 1)) << threads;
  }
}

TEST(ThreadTeam, WhatMembersWroteIsSeenAfterWaiting) {
  constexpr int rounds = 200;
  std::vector<int> numbers(4);
  std::atomic<bool> right = true;
  run_team(4, [&](TeamMember& member) {
    for (int round = 1; round <= rounds; ++round) {
      numbers[static_cast<size_t>(member.number())] = round;
      member.wait_for_all();
      for (int i = 0; i < member.size(); ++i) right = right && numbers[static_cast<size_t>(i)] == round;
      member.wait_for_all();
    }
  });
  EXPECT_TRUE(right);
}
