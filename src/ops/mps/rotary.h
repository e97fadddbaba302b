#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm::mps {

/// Turns x [B, heads, T, D], whose last dimension is dense, by sign (1 or -1) times the angles of cos and sin [T, D/2].
/// @return  the same sizes, tokens before heads in memory
at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int sign);

/// rms_norm of each head and rotary in one launch. gain [D] float32 and dense.
at::Tensor rms_norm_rotary(const at::Tensor& x, const at::Tensor& gain, double eps, const at::Tensor& cos,
                           const at::Tensor& sin);

}  // namespace xinslm::mps
