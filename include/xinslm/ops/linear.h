#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// y = x W^T + b. @param x [..., In]; @param weight [Out, In]; @param bias [Out] or undefined; @return [..., Out]
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace xinslm
