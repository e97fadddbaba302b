#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm::cpu {

/// out = a * b in the type of all three. LibTorch's bfloat16 products run at a tenth of the speed of float32 where the
/// processor has no wide registers for them; there pieces of b are widened and multiplied in float32.
///
/// @param a [m, k], @param b [k, n]: any strides; @param out [m, n]
void product_out(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

/// The same into a new tensor.
at::Tensor product(const at::Tensor& a, const at::Tensor& b);

}  // namespace xinslm::cpu
