#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace xinslm {

/// Blocks of 32 eight-bit integers that share one float16 scale: value = integer * scale. The arithmetic of Q8_0 in
/// llama.cpp (ggml, quantize_row_q8_0_ref), bit for bit: d = amax / 127 in float32, integer = x * (1 / d) rounded to
/// nearest with halves away from zero, and only the stored scale rounded to float16.
struct Q8Blocks {
  at::Tensor values;  ///< [..., rows, in] int8, -127 to 127
  at::Tensor scales;  ///< [..., rows, in / 32] float16
};

/// Encodes a tensor. Runs in parallel over rows, on the CPU. A block without a value above 3.8e-6 becomes zeros, as
/// float16 has no scale for it (llama.cpp keeps its integers, but they decode to zeros too).
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
