#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Rows of a bfloat16 matrix in the form of quant/compact_bfloat16.h, without what it lists apart.
struct CompactKernels {
  /// out [rows] = matrix * x, sums in float32.
  /// @param values  [rows, blocks, 96]
  /// @param table   [16] upper bytes by code
  /// @param x       [blocks * 64]
  void (*times_vector)(const uint8_t* values, const uint8_t* table, int64_t blocks, int64_t rows, const float* x,
                       float* out);

  /// One row: to [blocks * 64], bits of bfloat16.
  void (*restore)(const uint8_t* values, const uint8_t* table, int64_t blocks, uint16_t* to);
};
XINSLM_DECLARE_KERNELS(CompactKernels, compact_kernels)

}  // namespace xinslm
