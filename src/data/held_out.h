#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace xinslm {

/// Decides which documents are held out: those whose hash lies in the lowest share of all hashes. A document stays on
/// its side when others come or go, and equal documents are on the same side.
class HeldOut {
 public:
  /// @param hashes  of all documents. When none lies in the share, the one with the lowest hash is held out.
  HeldOut(const std::vector<uint64_t>& hashes, double share);

  bool contains(uint64_t hash) const { return any_ && hash <= limit_; }
  /// False when nothing can be held out: no share asked for, or all documents are equal.
  bool any() const { return any_; }

 private:
  bool any_ = false;
  uint64_t limit_ = 0;
};

}  // namespace xinslm
