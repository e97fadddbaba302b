#include "held_out.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

constexpr int64_t least_tail = 16;     // bytes: less measures nothing
constexpr int64_t least_to_cut = 128;  // bytes of a document

/// Documents with the same hash.
struct Group {
  double weight = 0;
  int64_t copies = 0, bytes = 0;  // bytes of one of them
};

}  // namespace

HeldOut::HeldOut(const std::vector<DocumentWeight>& documents, double share, bool may_cut) {
  if (share <= 0 || documents.empty()) return;
  // A dialogue's bytes are counted before and after it became tokens, and not alike: then each document weighs the
  // same.
  const bool by_bytes = std::ranges::none_of(documents, &DocumentWeight::dialogue);
  std::map<uint64_t, Group> groups;
  double total = 0;
  for (const DocumentWeight& document : documents) {
    Group& group = groups[document.hash];
    const double weight = by_bytes ? static_cast<double>(document.bytes) : 1;
    group.weight += weight;
    group.bytes = ++group.copies == 1 ? document.bytes : std::min(group.bytes, document.bytes);
    total += weight;
  }
  const double threshold = std::ldexp(share, 64), most = std::min(2 * share, (1 + share) / 2) * total;
  double held = 0;
  size_t taken = 0;
  for (const auto& [hash, group] : groups) {
    if (taken > 0 && static_cast<double>(hash) > threshold) return;
    limited_ = held + group.weight > most || taken + 1 == groups.size();
    if (limited_) break;
    held += group.weight;
    any_ = true;
    limit_ = hash;
    ++taken;
  }
  if (any_) return;
  const auto& [hash, first] = *groups.begin();
  if (may_cut && by_bytes && first.bytes >= least_to_cut) {
    const auto wanted = static_cast<int64_t>(share * total / static_cast<double>(first.copies));
    cut_ = hash;
    tail_ = std::clamp(wanted, least_tail, first.bytes - least_tail);
  } else if (groups.size() > 1) {
    any_ = true;
    limit_ = hash;
    limited_ = false;
  }
}

std::string HeldOut::mark() const {
  if (cuts()) return cat(" cut ", cut_, ' ', tail_);
  return limited_ ? cat(" up to ", limit_) : "";
}

}  // namespace xinslm
