#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// The type sums are formed in: float32, or float64 for float64.
inline at::ScalarType sum_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace xinslm
