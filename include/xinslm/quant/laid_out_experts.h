#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// One MXFP4 matrix for each expert in layout rows16 (packed_tensor.h), on the processor. Scales are exponents, and
/// those of one tensor are seldom more than 15 apart: then each takes half a byte, and one byte in 34 less is read.
class LaidOutExperts {
 public:
  /// What a file's map held of a source in the layout of checkpoints is given back. Runs in parallel.
  /// @param source  [E, rows, in] on the processor, no scale of it 255; one in rows16 is taken as it is
  explicit LaidOutExperts(const Mxfp4Tensor& source);

  /// [E, groups, G, 256] uint8
  const at::Tensor& values() const { return values_; }
  /// [E, groups, G, 16] uint8, or in halves [E, groups, (G + 1) / 2, 16]: an even block's in the low half of a byte,
  /// the next one's in the high half, both less least_scale().
  const at::Tensor& scales() const { return scales_; }
  bool scales_in_halves() const { return in_halves_; }
  uint8_t least_scale() const { return least_scale_; }
  int64_t bytes() const { return static_cast<int64_t>(values_.nbytes() + scales_.nbytes()); }

  /// Those of one group of 16 rows.
  const uint8_t* values(int64_t expert, int64_t group) const {
    return value_data_ + (expert * groups_ + group) * values_per_group_;
  }
  const uint8_t* scales(int64_t expert, int64_t group) const {
    return scale_data_ + (expert * groups_ + group) * scales_per_group_;
  }

 private:
  void fill_halves(const Mxfp4Tensor& source);

  at::Tensor values_, scales_;
  bool in_halves_ = false;
  uint8_t least_scale_ = 0;
  const uint8_t *value_data_, *scale_data_;
  int64_t groups_, values_per_group_, scales_per_group_;
};

}  // namespace xinslm
