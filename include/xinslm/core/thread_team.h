#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

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
  /// What the members have in common; numbers of different writers lie in different lines of the cache.
  struct Shared {
    struct alignas(64) Taken {
      std::atomic<int64_t> pieces[2]{};  // of a member's share, in this phase and the next
    };
    explicit Shared(int size) : taken(static_cast<size_t>(size)) {}
    alignas(64) std::atomic<int64_t> arrived{0};  // at the ends of phases
    std::vector<Taken> taken;
  };

  TeamMember(int number, int size, Shared& shared) : number_(number), size_(size), shared_(shared) {}

  int number() const { return number_; }
  int size() const { return size_; }

  /// This member's share of [0, count): neighbouring items, all shares within one of each other.
  struct Range {
    int64_t begin, end;
  };
  Range share(int64_t count) const { return share_of(number_, count); }

  /// The same cut between whole pieces of `piece` items: what share_out() gives this member first.
  Range share(int64_t count, int64_t piece) const {
    const Range pieces = share((count + piece - 1) / piece);
    return {std::min(count, pieces.begin * piece), std::min(count, pieces.end * piece)};
  }

  /// Calls body(range) for pieces of [0, count) of up to `piece` items: those of this member's share, one after the
  /// other, then what is left of others'. Once in a phase, by every member, with the same numbers.
  template <class Body>
  void share_out(int64_t count, int64_t piece, const Body& body) {
    for (int i = 0; i < size_; ++i) {
      const int owner = (number_ + i) % size_;
      const Range pieces = share_of(owner, (count + piece - 1) / piece);
      std::atomic<int64_t>& taken = shared_.taken[static_cast<size_t>(owner)].pieces[phases_ % 2];
      for (int64_t next; (next = pieces.begin + taken.fetch_add(1, std::memory_order_relaxed)) < pieces.end;) {
        body(Range{next * piece, std::min(count, (next + 1) * piece)});
      }
    }
  }

  /// Returns when every member has arrived; what they wrote before is seen after. Until then brings the beginning of
  /// what is upcoming into the core's cache, then spins shortly, then lets other programs have the core.
  void wait_for_all(const Upcoming& upcoming = {});

 private:
  Range share_of(int member, int64_t count) const { return {count * member / size_, count * (member + 1) / size_}; }

  int number_, size_;
  int64_t phases_ = 0;  // behind this member
  Shared& shared_;
};

/// Runs body on up to `threads` threads at once and returns when all are done. An exception of any member would leave
/// the others waiting: body must not throw.
void run_team(int threads, const std::function<void(TeamMember&)>& body);

}  // namespace xinslm
