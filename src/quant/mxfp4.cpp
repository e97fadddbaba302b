#include "xinslm/quant/mxfp4.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "quant/rows.h"
#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr std::array<float, 8> magnitudes{0, 0.5, 1, 1.5, 2, 3, 4, 6};
constexpr int64_t block_bytes = Mxfp4Format::value_bytes;
constexpr int largest_exponent = 2;  // of an element: 6 = 1.5 * 2^2
constexpr int scale_bias = 127;
constexpr int largest_scale = 254;
constexpr int largest_finite_scale = 252;  // 6 * 2^(253 - 127) is more than float32 holds

/// Adds the step for each middle between neighbouring magnitudes that y >= 0 has passed; the middle itself belongs to
/// the neighbour of even code. Comparisons and sums alone, which the compiler turns into vector code.
template <class T>
T passed_steps(float y, const std::array<T, 7>& steps) {
  constexpr T none = 0;
  return (y > 0.25f ? steps[0] : none) + (y >= 0.75f ? steps[1] : none) + (y > 1.25f ? steps[2] : none) +
         (y >= 1.75f ? steps[3] : none) + (y > 2.5f ? steps[4] : none) + (y >= 3.5f ? steps[5] : none) +
         (y > 5.0f ? steps[6] : none);
}

/// The code of the magnitude nearest to y >= 0.
int nearest_code(float y) {
  return passed_steps<int>(y, {1, 1, 1, 1, 1, 1, 1});
}

/// magnitudes[nearest_code(y)].
float nearest_magnitude(float y) {
  return passed_steps<float>(y, {0.5, 0.5, 0.5, 0.5, 1, 1, 2});
}

/// 1 / e8m0_value(scale), exactly.
float inverse_scale(int scale) {
  return e8m0_value(static_cast<uint8_t>(largest_scale - scale));
}

int spec_scale(float amax) {
  if (amax == 0) return 0;
  return std::max(std::ilogb(amax) - largest_exponent + scale_bias, 0);  // at most 252, as amax is below 2^128
}

/// Sum of squared errors under a scale, in units of that scale squared.
float squared_error(std::span<const float> values, int scale) {
  constexpr size_t lanes = 8;  // sums side by side, as the compiler may not reorder one sum into vectors itself
  const float inverse = inverse_scale(scale);
  std::array<float, lanes> sums{};
  for (size_t i = 0; i < values.size(); i += lanes) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      const float y = std::abs(values[i + lane]) * inverse;
      const float error = y - nearest_magnitude(y);
      sums[lane] += error * error;
    }
  }
  float sum = 0;
  for (const float lane : sums) sum += lane;
  return sum;
}

int choose_scale(std::span<const float> values, float amax, ScaleRule rule) {
  const int scale = spec_scale(amax);
  if (rule == ScaleRule::spec || scale == largest_finite_scale) return scale;
  constexpr float unit_ratio = 4;  // the square of twice the scale
  return unit_ratio * squared_error(values, scale + 1) < squared_error(values, scale) ? scale + 1 : scale;
}

/// As encode_mxfp4, the largest magnitude being known.
uint8_t encode(std::span<const float> values, float amax, ScaleRule rule, uint8_t* blocks) {
  const int scale = choose_scale(values, amax, rule);
  const float inverse = inverse_scale(scale);
  for (size_t first = 0; first < values.size(); first += quant_block) {
    std::array<uint8_t, quant_block> codes;
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = mxfp4_code(values[first + i] * inverse);
    for (size_t i = 0; i < codes.size() / 2; ++i) {
      *blocks++ = static_cast<uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
    }
  }
  return static_cast<uint8_t>(scale);
}

void decode_block(const uint8_t* block, uint8_t scale, float* to) {
  std::array<float, 16> decoded;
  for (size_t code = 0; code < decoded.size(); ++code) {
    decoded[code] = mxfp4_value(static_cast<uint8_t>(code)) * e8m0_value(scale);
  }
  for (int64_t i = 0; i < block_bytes; ++i) {
    to[2 * i] = decoded[block[i] & 15];
    to[2 * i + 1] = decoded[block[i] >> 4];
  }
}

void check_blocks(const at::Tensor& blocks, const at::Tensor& scales) {
  const bool types = blocks.scalar_type() == at::kByte && scales.scalar_type() == at::kByte;
  const bool sizes = blocks.dim() >= 3 && blocks.size(-1) == block_bytes &&
                     blocks.sizes().slice(0, blocks.dim() - 1) == scales.sizes();
  if (!types || !sizes) {
    usage_error("MXFP4 blocks are ", blocks.scalar_type(), " ", blocks.sizes(), " with scales ", scales.scalar_type(),
                " ", scales.sizes(), ", expected Byte [..., rows, G, 16] with Byte [..., rows, G]");
  }
}

}  // namespace

float mxfp4_value(uint8_t code) {
  return code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];
}

uint8_t mxfp4_code(float x) {
  const uint32_t sign = std::bit_cast<uint32_t>(x) >> 31;
  return static_cast<uint8_t>(static_cast<uint32_t>(nearest_code(std::abs(x))) | sign << 3);
}

float e8m0_value(uint8_t scale) {
  constexpr uint32_t smallest = 0x00400000, nan = 0x7fc00000;  // 2^-127 is below the normal numbers of float32
  if (scale == 0) return std::bit_cast<float>(smallest);
  return std::bit_cast<float>(scale == 255 ? nan : uint32_t{scale} << 23);  // else its exponent field
}

uint8_t encode_mxfp4(std::span<const float> values, ScaleRule rule, uint8_t* blocks) {
  float amax = 0;
  for (const float x : values) amax = std::max(amax, std::abs(x));
  return encode(values, amax, rule, blocks);
}

Mxfp4Blocks quantize_mxfp4(const at::Tensor& values, ScaleRule rule, int64_t group_size, const std::string& name) {
  if (group_size != 32 && group_size != 64 && group_size != 128) {
    usage_error("tensor ", name, ": group_size is ", group_size, ", expected 32, 64 or 128");
  }
  const at::Tensor rows = float_rows(values, name);
  std::vector<int64_t> sizes = rows.sizes().vec();
  const int64_t in = sizes.back(), count = in / quant_block;
  sizes.back() = count;
  const at::Tensor scales = at::empty(sizes, at::kByte);
  sizes.push_back(block_bytes);
  const at::Tensor blocks = at::empty(sizes, at::kByte);
  auto* block_data = blocks.mutable_data_ptr<uint8_t>();
  auto* scale_data = scales.mutable_data_ptr<uint8_t>();
  for_values_of_rows(rows, [&](int64_t row, std::span<const float> x) {
    for (int64_t first = 0; first < in; first += group_size) {
      const auto group = x.subspan(first, std::min(group_size, in - first));
      const float amax = finite_amax(group, rows, row, first, name);
      const int64_t block = row * count + first / quant_block;
      const uint8_t scale = encode(group, amax, rule, block_data + block * block_bytes);
      std::fill_n(scale_data + block, group.size() / quant_block, scale);
    }
  });
  return {blocks.to(values.device()), scales.to(values.device())};
}

at::Tensor dequantize_mxfp4(const at::Tensor& blocks, const at::Tensor& scales, at::ScalarType type) {
  check_blocks(blocks, scales);
  check_decoded_type(type);
  const at::Tensor bytes = blocks.to(at::kCPU).contiguous(), exponents = scales.to(at::kCPU).contiguous();
  std::vector<int64_t> sizes = scales.sizes().vec();
  const int64_t count = sizes.back();
  sizes.back() *= quant_block;
  at::Tensor values = at::empty(sizes, type);
  const auto* block_data = bytes.const_data_ptr<uint8_t>();
  const auto* scale_data = exponents.const_data_ptr<uint8_t>();
  for_rows(count == 0 ? 0 : scales.numel() / count, sizes.back(), [&](int64_t row, std::span<float> x) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t block = row * count + i;
      decode_block(block_data + block * block_bytes, scale_data[block], x.data() + i * quant_block);
    }
    write_row(x, values, row);
  });
  return values.to(blocks.device());
}

}  // namespace xinslm
