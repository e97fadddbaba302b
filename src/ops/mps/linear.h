#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm::mps {

/// x [N, In] and weight [Out, In], both dense, -> [N, Out]. bias: float32 [Out] or undefined.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// left [N, In] transposed, times right [N, Out] -> [In, Out]. LibTorch's products on MPS have given wrong numbers for
/// transposed views on the left; this hands them dense ones.
at::Tensor transposed_product(const at::Tensor& left, const at::Tensor& right);

}  // namespace xinslm::mps
