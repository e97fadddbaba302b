#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

namespace xinslm {

/// MXFP4: blocks of 32 four-bit floats (E2M1: sign, two bits of exponent, one of mantissa) that share one eight-bit
/// power of two (E8M0). A value is element * 2^(scale - 127). OCP Microscaling Formats (MX) v1.0, sections 5.3.3, 5.4.1
/// and 6.3.

/// How the scale of a block follows from its values.
enum class ScaleRule {
  spec,  ///< 2^(floor(log2 amax) - 2), the specification's: values above 6 of these are cut to 6
  mse,   ///< that or twice that, whichever leaves the smaller squared error
};

/// The element a code stands for: 0, 0.5, 1, 1.5, 2, 3, 4, 6 for 0 to 7, their negatives (-0 included) for 8 to 15; the
/// upper four bits are ignored.
float mxfp4_value(uint8_t code);

/// The code of the element nearest to x: of two equally near the even code (the specification's "round half to even"),
/// 6 for what is above. Keeps the sign, of zero too. x must not be NaN.
uint8_t mxfp4_code(float x);

/// The power of two a scale byte stands for, 2^(scale - 127); NaN for 255.
float e8m0_value(uint8_t scale);

/// Encodes values that share one scale. Zeros alone get scale 0. The scale stays within 0..252, so the smallest values
/// float32 has become zero and the largest are cut.
///
/// @param values  1 to 4 blocks of 32, finite
/// @param blocks  receives values.size() / 2 bytes; byte i holds value 2i in its low half and 2i + 1 in its high half
/// @return        the scale byte
uint8_t encode_mxfp4(std::span<const float> values, ScaleRule rule, uint8_t* blocks);

/// A tensor in MXFP4 as gpt-oss checkpoints hold it.
struct Mxfp4Blocks {
  at::Tensor blocks;  ///< [..., rows, G, 16] uint8, G = in / 32; the even element of a pair in the low half of its byte
  at::Tensor scales;  ///< [..., rows, G] uint8
};

/// Encodes a tensor. Runs in parallel over rows, on the CPU.
///
/// @param values      [..., rows, in] float32, float16 or bfloat16; `in` a multiple of 32
/// @param group_size  32, 64 or 128: that many neighbours get the same scale, so the result is plain MXFP4 all the
///                    same; the last group of a row may be shorter
/// @param name        the tensor's, for messages
/// @throws Error(data) when a value is NaN or infinite, Error(usage) for other sizes and types
Mxfp4Blocks quantize_mxfp4(const at::Tensor& values, ScaleRule rule, int64_t group_size, const std::string& name);

/// Decodes [..., rows, G, 16] and [..., rows, G] uint8 into [..., rows, 32 G] of the type given: float32, float16 or
/// bfloat16. float32 and bfloat16 hold every value exactly but those of 2^128 and more, which become infinite; a block
/// of scale 255 is all NaN. Runs in parallel over rows, on the CPU; the result is where the blocks are.
/// @throws Error(usage) for other sizes and types
at::Tensor dequantize_mxfp4(const at::Tensor& blocks, const at::Tensor& scales, at::ScalarType type);

}  // namespace xinslm
