#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// Root-mean-square norm, y = x / sqrt(mean(x^2) + eps) * gain, computed in float32 (Zhang & Sennrich 2019).
///
/// @param x     [..., H] float32 or bfloat16
/// @param gain  [H] float32 or bfloat16
/// @param eps   added to the mean square; gpt-oss uses 1e-5
/// @return      [..., H], type of x
/// @throws Error(usage) when the last sizes differ
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps);

/// The formula as it stands, on any device and type, differentiable: what every fast version is tested against.
at::Tensor rms_norm_ref(const at::Tensor& x, const at::Tensor& gain, double eps);

}  // namespace xinslm
