#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// One batch of packed sequences.
struct Batch {
  at::Tensor tokens;          ///< [B, T] int64, the input
  at::Tensor targets;         ///< [B, T] int64, the next token, or -100 where no loss counts
  at::Tensor document_ids;    ///< [B, T] int64, or undefined when attention may cross documents
  at::Tensor real_places;     ///< [N] int64, rising: places of the flattened [B * T] with text; undefined when all have
  int64_t target_tokens = 0;  ///< targets that count
  int64_t target_bytes = 0;   ///< bytes of text those targets stand for, for bits per byte

  /// Places that hold text, which is what a run counts as tokens.
  int64_t real_tokens() const { return real_places.defined() ? real_places.numel() : tokens.numel(); }
};

/// Batches in a fixed order that depends on the seed alone, so a position is all there is to save.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// The batch at a position (0, 1, 2, ...: epochs follow each other, each reshuffled).
  virtual Batch batch(int64_t position) = 0;
  virtual int64_t batches_per_epoch() const = 0;
  /// Batches of all epochs that were asked for, after which there are none; 0 = without end.
  virtual int64_t batches() const { return 0; }
};

}  // namespace xinslm
