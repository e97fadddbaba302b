#pragma once
#include <ATen/core/Tensor.h>

#include "xinslm/quant/packed_tensor.h"

namespace xinslm::mps {

/// x * weight^T + bias with exact weights and sums in float32.
/// @param x     [N, in] as is_fast() takes it, N > 0
/// @param bias  [rows] or undefined
/// @return      [N, rows], type of x
at::Tensor packed_linear_forward(const at::Tensor& x, const Mxfp4Tensor& weight, const at::Tensor& bias);
at::Tensor packed_linear_forward(const at::Tensor& x, const Q8Tensor& weight, const at::Tensor& bias);

/// The gradient of x: grad * weight.
/// @param grad  [N, rows]
at::Tensor packed_linear_backward(const at::Tensor& grad, const Mxfp4Tensor& weight);
at::Tensor packed_linear_backward(const at::Tensor& grad, const Q8Tensor& weight);

/// Rows of weight for tokens [...] int64: [..., in] of the type given; not-a-numbers where a token is outside [0,
/// rows).
at::Tensor packed_embedding(const Q8Tensor& weight, const at::Tensor& tokens, at::ScalarType type);

}  // namespace xinslm::mps
