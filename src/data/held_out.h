#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace xinslm {

/// What a document counts for when a share of all is held out.
struct DocumentWeight {
  uint64_t hash = 0;
  int64_t bytes = 0;
  bool dialogue = false;
};

/// Decides what is held out: documents whose hash lies in the lowest share of all hashes, up to twice that share of the
/// text. A document stays on its side when others come or go, and equal documents are on the same side. Where no
/// document is that small, the one with the lowest hash is cut and its end held out; dialogues are not cut.
class HeldOut {
 public:
  /// @param may_cut  false = the document with the lowest hash is held out whole instead
  HeldOut(const std::vector<DocumentWeight>& documents, double share, bool may_cut);

  /// Whether such a document is held out whole.
  bool contains(uint64_t hash) const { return any_ && hash <= limit_; }
  /// Bytes at the end of such a document that are held out, at most.
  int64_t tail(uint64_t hash) const { return hash == cut_ ? tail_ : 0; }
  bool cuts() const { return tail_ > 0; }
  /// False when nothing can be held out: no share asked for, or all documents are equal and too short to cut.
  bool any() const { return any_ || cuts(); }
  /// Tells this choice from that by hashes alone; "" where they are the same.
  std::string mark() const;

 private:
  bool any_ = false, limited_ = false;
  uint64_t limit_ = 0, cut_ = 0;
  int64_t tail_ = 0;
};

}  // namespace xinslm
