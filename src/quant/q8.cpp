#include "xinslm/quant/q8.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/rows.h"
#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr float largest_integer = 127;

/// std::round of y cut to -127 .. 127, in operations that all have vector instructions.
int8_t round_to_integer(float y) {
  const float magnitude = std::min(std::abs(y), largest_integer);
  const int whole = static_cast<int>(magnitude);
  const int nearest = whole + (magnitude - static_cast<float>(whole) >= 0.5f);
  return static_cast<int8_t>(y < 0 ? -nearest : nearest);
}

/// What values are multiplied by before rounding; a scale of 0 makes zeros of them.
float inverse_of(at::Half scale) {
  return scale == 0 ? 0 : 1 / static_cast<float>(scale);
}

double squared_error(std::span<const float> values, at::Half scale) {
  const float step = scale, inverse = inverse_of(scale);
  double sum = 0;
  for (const float x : values) {
    const double error = double{x} - static_cast<double>(round_to_integer(x * inverse)) * step;
    sum += error * error;
  }
  return sum;
}

/// amax / 127 rounded to the nearest float16, unless that would cut the largest value by more than rounding does:
/// float16 has few numbers below 1e-5 and none below 6e-8. Then the next larger scale is taken if it loses less.
at::Half choose_scale(std::span<const float> values, float amax) {
  const auto nearest = static_cast<at::Half>(amax / largest_integer);
  if (amax <= (largest_integer + 0.5f) * static_cast<float>(nearest)) return nearest;
  const at::Half above(static_cast<uint16_t>(nearest.x + 1), at::Half::from_bits());
  return squared_error(values, above) < squared_error(values, nearest) ? above : nearest;
}

/// Writes the integers of one block and returns its scale.
at::Half encode(std::span<const float> values, float amax, const std::string& name, int8_t* integers) {
  if (std::isinf(static_cast<float>(static_cast<at::Half>(amax / largest_integer)))) {
    data_error("tensor ", name, " holds a value of magnitude ", amax,
               ", too large for the float16 scale of 8-bit blocks");
  }
  const at::Half scale = choose_scale(values, amax);
  const float inverse = inverse_of(scale);
  for (size_t i = 0; i < values.size(); ++i) integers[i] = round_to_integer(values[i] * inverse);
  return scale;
}

void check_blocks(const at::Tensor& values, const at::Tensor& scales) {
  const bool types = values.scalar_type() == at::kChar && scales.scalar_type() == at::kHalf;
  bool sizes = values.dim() >= 2 && values.dim() == scales.dim() && values.size(-1) == scales.size(-1) * quant_block;
  for (int64_t d = 0; sizes && d + 1 < values.dim(); ++d) sizes = values.size(d) == scales.size(d);
  if (!types || !sizes) {
    usage_error("8-bit values are ", values.scalar_type(), " ", values.sizes(), " with scales ", scales.scalar_type(),
                " ", scales.sizes(), ", expected Char [..., rows, in] with Half [..., rows, in / 32]");
  }
}

}  // namespace

Q8Blocks quantize_q8(const at::Tensor& values, const std::string& name) {
  const at::Tensor rows = float_rows(values, name);
  std::vector<int64_t> sizes = rows.sizes().vec();
  const at::Tensor integers = at::empty(sizes, at::kChar);
  const int64_t in = sizes.back(), count = in / quant_block;
  sizes.back() = count;
  const at::Tensor scales = at::empty(sizes, at::kHalf);
  auto* integer_data = integers.mutable_data_ptr<int8_t>();
  auto* scale_data = scales.mutable_data_ptr<at::Half>();
  for_values_of_rows(rows, [&](int64_t row, std::span<const float> x) {
    for (int64_t block = 0; block < count; ++block) {
      const auto values_of_block = x.subspan(block * quant_block, quant_block);
      const float amax = finite_amax(values_of_block, rows, row, block * quant_block, name);
      scale_data[row * count + block] =
          encode(values_of_block, amax, name, integer_data + row * in + block * quant_block);
    }
  });
  return {integers.to(values.device()), scales.to(values.device())};
}

at::Tensor dequantize_q8(const at::Tensor& values, const at::Tensor& scales, at::ScalarType type) {
  check_blocks(values, scales);
  check_decoded_type(type);
  const at::Tensor integers = values.to(at::kCPU).contiguous(), factors = scales.to(at::kCPU).contiguous();
  at::Tensor decoded = at::empty(values.sizes(), type);
  const int64_t in = values.size(-1), count = scales.size(-1);
  const auto* integer_data = integers.const_data_ptr<int8_t>();
  const auto* scale_data = factors.const_data_ptr<at::Half>();
  for_rows(in == 0 ? 0 : values.numel() / in, in, [&](int64_t row, std::span<float> x) {
    for (int64_t i = 0; i < in; ++i) {
      x[i] = static_cast<float>(integer_data[row * in + i]) *
             static_cast<float>(scale_data[row * count + i / quant_block]);
    }
    write_row(x, decoded, row);
  });
  return decoded.to(values.device());
}

}  // namespace xinslm
