#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

namespace xinslm::mps {

/// Output and the inverse root mean square of each row, [rows] float32. x dense, gain float32 and dense.
std::pair<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps);

/// Gradients of x and gain (float32).
std::pair<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& x, const at::Tensor& gain,
                                                    const at::Tensor& inverse_rms, const at::Tensor& grad_y);

}  // namespace xinslm::mps
