#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// y = x W^T + b.
/// @param x       [..., In] float32 or bfloat16
/// @param weight  [Out, In], type of x
/// @param bias    [Out] float32 or type of x, or undefined
/// @return        [..., Out], type of x
/// @throws Error(usage) on sizes or types that do not fit
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor linear_ref(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace xinslm
