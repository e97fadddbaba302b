#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// What a quantised tensor lost. Sums, so that the parts of a tensor can be measured one by one and added.
struct QuantError {
  double squared_error = 0;  ///< sum of (original - decoded)^2
  double squared_sum = 0;    ///< sum of original^2
  double worst_block = 0;    ///< largest relative RMS error of one block; infinite where only zeros became something
  int64_t worst_row = 0;     ///< where that block is: its row, all dimensions but the last counted as one,
  int64_t worst_column = 0;  ///< and its first column

  /// sqrt(squared_error / squared_sum); 0 where there is no error.
  double relative_rms() const;
};

/// Compares a tensor with what its quantised form decodes to. Runs in parallel over rows.
///
/// @param original  [..., in] float32, float16 or bfloat16; `in` a multiple of 32
/// @param decoded   the same sizes, any of these types
/// @throws Error(usage) when sizes or types are others
QuantError quant_error(const at::Tensor& original, const at::Tensor& decoded);

}  // namespace xinslm
