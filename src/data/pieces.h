#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "xinslm/core/error.h"

namespace xinslm {

/// Pieces of `size` that `count` things fill, the last perhaps not whole.
inline int64_t pieces_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

/// `times` of `count` things, rounded up to whole ones, none only of 0; 0.1 of 30 are 3, though the product is a little
/// more.
inline int64_t whole_share(double times, int64_t count) {
  if (times <= 0) return 0;
  const double exact = std::min(times * static_cast<double>(count), 1e18);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(exact * (1 - 1e-12))));
}

/// @param end  batches there are; 0 = without end. @throws Error(usage)
inline void check_position(int64_t position, int64_t end) {
  if (position < 0) usage_error("batch position ", position, " is negative");
  if (end > 0 && position >= end) {
    usage_error("batch position ", position, " is beyond the ", end, " batches of training.num_train_epochs");
  }
}

}  // namespace xinslm
