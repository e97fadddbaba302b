#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace xinslm {

/// Blocks of 32 eight-bit integers that share one float16 scale: value = integer * scale, the blocks of Q8_0 in
/// llama.cpp (ggml, quantize_row_q8_0_ref). The scale is amax / 127 rounded to float16, and the integers are x / scale
/// by that rounded scale, to nearest with halves away from zero. llama.cpp divides by the scale before it is rounded,
/// which goes wrong where float16 has few numbers: below 1e-5.
struct Q8Blocks {
  at::Tensor values;  ///< [..., rows, in] int8, -127 to 127
  at::Tensor scales;  ///< [..., rows, in / 32] float16
};

/// Encodes a tensor. Runs in parallel over rows, on the CPU. A scale is at least 6e-8, the smallest
/// float16, so blocks of values below 7.5e-6 use fewer than 127 steps, and one of values below 3e-8 becomes zeros.
///
/// @param values  [..., rows, in] float32, float16 or bfloat16; `in` a multiple of 32
/// @param name    the tensor's, for messages
/// @throws Error(data) when a value is NaN, infinite or too large for a float16 scale (8.3e6),
///         Error(usage) for other sizes and types
Q8Blocks quantize_q8(const at::Tensor& values, const std::string& name);

/// Decodes [..., rows, in] int8 and [..., rows, in / 32] float16 into [..., rows, in] of the type given: float32,
/// float16 or bfloat16. Runs in parallel over rows, on the CPU; the result is where the values are.
/// @throws Error(usage) for other sizes and types
at::Tensor dequantize_q8(const at::Tensor& values, const at::Tensor& scales, at::ScalarType type);

}  // namespace xinslm
