#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Small passes over rows; arrays are dense, row-major and of the Element that indexes the member, float unless void.
struct RowKernels {
  /// y += bias [width] in each row.
  void (*add_bias[2])(void* y, const float* bias, int64_t rows, int64_t width);
  /// sums [width] += the rows.
  void (*add_columns[2])(const void* x, int64_t rows, int64_t width, float* sums);
  /// sum += x
  void (*accumulate[2])(float* sum, const void* x, int64_t size);
  /// y = scale * x
  void (*scale[2])(const float* x, float scale, void* y, int64_t size);
  /// out [width] = sum of the rows listed, in the order of the list. scratch [width]
  void (*sum_rows[2])(const void* x, const int64_t* rows, int64_t count, int64_t width, float* scratch, void* out);
  /// Place of the largest of x [size], the first of equals; numbers that are none do not count. 0 where there is no other.
  int64_t (*largest)(const float* x, int64_t size);
};
XINSLM_DECLARE_KERNELS(RowKernels, row_kernels)

struct RmsNormKernels {
  /// inverse_rms [rows] is kept for the backward pass.
  void (*forward[2])(const void* x, const float* gain, double eps, void* y, float* inverse_rms, int64_t rows,
                     int64_t width);
  /// grad_gain [width] += this part's share.
  void (*backward[2])(const void* x, const float* gain, const float* inverse_rms, const void* grad_y, void* grad_x,
                      float* grad_gain, int64_t rows, int64_t width);
};
XINSLM_DECLARE_KERNELS(RmsNormKernels, rms_norm_kernels)

struct RotaryKernels {
  /// One token: turns `heads` rows of 2 * half values, x_stride and y_stride elements apart; sign -1 turns back.
  void (*turn[2])(const void* x, int64_t x_stride, void* y, int64_t y_stride, int64_t heads, int64_t half,
                  const float* cos, const float* sin, float sign);
};
XINSLM_DECLARE_KERNELS(RotaryKernels, rotary_kernels)

/// What decides over each element of dropout; see DropoutKey.
struct DropoutKernels {
  /// y = dropped x, for elements [first, first + size); x and y point at the first.
  void (*apply[2])(const void* x, void* y, int64_t first, int64_t size, uint32_t key_first, uint32_t key_second,
                   uint32_t threshold, float scale);
};
XINSLM_DECLARE_KERNELS(DropoutKernels, dropout_kernels)

}  // namespace xinslm
