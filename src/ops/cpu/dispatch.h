#pragma once
#include <ATen/core/Tensor.h>

#include "ops/cpu/kernels.h"

namespace xinslm::cpu {

/// True for what the kernels of this folder take: float32 and bfloat16 on the CPU.
inline bool is_fast(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

inline Element element_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? element_float32 : element_bfloat16;
}

inline char* bytes_of(const at::Tensor& x) {
  return static_cast<char*>(x.data_ptr());
}
/// Address of row `row` of a dense array of rows of `width`.
inline char* row_at(const at::Tensor& x, int64_t row, int64_t width) {
  return bytes_of(x) + row * width * x.element_size();
}
/// Of a float32 tensor; each token asks for hundreds of these, and the tensor's own typed accessor checks the type.
inline const float* floats_of(const at::Tensor& x) {
  return static_cast<const float*>(x.const_data_ptr());
}
inline const float* floats_or_null(const at::Tensor& x) {
  return x.defined() ? floats_of(x) : nullptr;
}

}  // namespace xinslm::cpu
