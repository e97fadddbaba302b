#include "xinslm/core/thread_team.h"

#include <omp.h>

#include <algorithm>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace xinslm {
namespace {

constexpr int64_t line = 64;
constexpr int64_t lines_a_round = 8;
constexpr int64_t most_upcoming = 256 << 10;  // bytes, so that it stays in the second cache until it is used

/// Rounds of waiting before the core is given up: some 50 microseconds, a few times what a phase usually takes.
constexpr int spins = 2000;

void pause_shortly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void bring_closer(const Upcoming& upcoming) {
  const char* next = static_cast<const char*>(upcoming.memory);
  for (int64_t i = 0; i < std::min(upcoming.bytes, most_upcoming); i += line) __builtin_prefetch(next + i, 0, 2);
}

void TeamMember::wait_for_all(const Upcoming& upcoming) {
  const int64_t target = ++phases_ * size_;
  // Nobody takes from the next phase's pieces yet, nor any more from those of the last, which were counted there.
  shared_.taken[static_cast<size_t>(number_)].pieces[phases_ % 2].store(0, std::memory_order_relaxed);
  shared_.arrived.fetch_add(1, std::memory_order_acq_rel);
  const char* next = static_cast<const char*>(upcoming.memory);
  const char* end = next + std::min(upcoming.bytes, most_upcoming);
  for (int round = 0; shared_.arrived.load(std::memory_order_acquire) < target;) {
    if (next < end) {
      for (int64_t i = 0; i < lines_a_round; ++i, next += line) __builtin_prefetch(next, 0, 2);
    } else if (round++ < spins) {
      pause_shortly();
    } else {
      std::this_thread::yield();
    }
  }
}

void run_team(int threads, const std::function<void(TeamMember&)>& body) {
  TeamMember::Shared shared(threads);
#pragma omp parallel num_threads(threads)
  {
    TeamMember member(omp_get_thread_num(), omp_get_num_threads(), shared);
    body(member);
  }
}

}  // namespace xinslm
