#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// Sets each element to zero with probability p and divides the rest by 1 - p (Srivastava et al. 2014). Whether an
/// element is kept depends on (seed, its index in row-major order) alone, so the backward pass finds the mask again
/// instead of storing it and the same seed drops the same elements on every device.
/// @param x  any shape and floating type
/// @param p  in [0, 1)
/// @throws Error(usage) when p is outside
at::Tensor dropout(const at::Tensor& x, double p, uint64_t seed);
at::Tensor dropout_ref(const at::Tensor& x, double p, uint64_t seed);

}  // namespace xinslm
