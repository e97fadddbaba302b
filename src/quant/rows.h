#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace xinslm {

/// The tensor detached, contiguous and on the CPU.
/// @throws Error(usage), naming it, unless it is [..., rows, in] float32, float16 or bfloat16, `in` a multiple of 32
at::Tensor float_rows(const at::Tensor& values, const std::string& name);

/// @throws Error(usage) unless values can be decoded to this type: float32, float16 or bfloat16
void check_decoded_type(at::ScalarType type);

/// Copies row `index` of a contiguous CPU tensor [..., width], all dimensions but the last counted as one.
void read_row(const at::Tensor& values, int64_t index, std::span<float> to);

/// The other way, rounding to the tensor's type.
void write_row(std::span<const float> from, at::Tensor& values, int64_t index);

/// The largest magnitude. @throws Error(data) with tensor and place when a value is NaN or infinite
/// @param values  those of `tensor` from column `column` of row `row` on
float finite_amax(std::span<const float> values, const at::Tensor& tensor, int64_t row, int64_t column,
                  const std::string& name);

/// Calls body(row, buffer of `width` floats) for each row, in parallel.
template <class Body>
void for_rows(int64_t rows, int64_t width, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / std::max<int64_t>(width, 1));
  at::parallel_for(0, rows, grain, [&](int64_t first, int64_t last) {
    std::vector<float> buffer(width);
    for (int64_t row = first; row < last; ++row) body(row, std::span<float>(buffer));
  });
}

/// Calls body(row, its values as float32) for each row of a tensor from float_rows, in parallel.
template <class Body>
void for_values_of_rows(const at::Tensor& values, const Body& body) {
  const int64_t width = values.size(-1);
  for_rows(values.numel() / width, width, [&](int64_t row, std::span<float> buffer) {
    read_row(values, row, buffer);
    body(row, std::span<const float>(buffer));
  });
}

}  // namespace xinslm
