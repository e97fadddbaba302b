#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

namespace xinslm {

/// Memory that a thread will read next.
struct Upcoming {
  const void* memory = nullptr;
  int64_t bytes = 0;
};

/// Has the beginning of it brought into the core's second cache, without waiting for it.
void bring_closer(const Upcoming& upcoming);

/// A thread's place in a team that works on one thing together, in phases.
class TeamMember {
 public:
  TeamMember(int number, int size, std::atomic<int64_t>& arrived) : number_(number), size_(size), arrived_(arrived) {}

  int number() const { return number_; }
  int size() const { return size_; }

  /// This member's share of [0, count): neighbouring items, all shares within one of each other.
  struct Range {
    int64_t begin, end;
  };
  Range share(int64_t count) const { return {count * number_ / size_, count * (number_ + 1) / size_}; }

  /// Returns when every member has arrived; what they wrote before is seen after. Until then brings the beginning of
  /// what is upcoming into the core's cache, then spins shortly, then lets other programs have the core.
  void wait_for_all(const Upcoming& upcoming = {});

 private:
  int number_, size_;
  int64_t phases_ = 0;
  std::atomic<int64_t>& arrived_;
};

/// Runs body on up to `threads` threads at once and returns when all are done. An exception of any member would leave
/// the others waiting: body must not throw.
void run_team(int threads, const std::function<void(TeamMember&)>& body);

}  // namespace xinslm
