#pragma once
#include <ATen/core/Tensor.h>

#include "xinslm/quant/compact_bfloat16.h"

namespace xinslm {

/// linear() with a matrix in compact form, on the processor: a few rows of x are multiplied from it, for more of them
/// its rows are brought back a part at a time. The gradient of x is that of linear(); the weight has none.
/// @param x       [..., In] bfloat16
/// @param weight  [Out, In]
/// @param bias    [Out] float32 or bfloat16, or undefined
/// @return        [..., Out] bfloat16
/// @throws Error(usage) on sizes or types that do not fit
at::Tensor compact_linear(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias);
at::Tensor compact_linear_ref(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias);

}  // namespace xinslm
