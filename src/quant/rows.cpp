#include "quant/rows.h"

#include <bit>

#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr uint32_t magnitude_bits = 0x7fffffff;  // all of a float32 but its sign
constexpr uint32_t infinity_bits = 0x7f800000;   // NaN is above

/// [expert, row, column] of a value.
std::vector<int64_t> place_of(const at::Tensor& tensor, int64_t row, int64_t column) {
  std::vector<int64_t> place(tensor.dim());
  place.back() = column;
  for (int64_t d = tensor.dim() - 2; d >= 0; --d) {
    place[d] = row % tensor.size(d);
    row /= tensor.size(d);
  }
  return place;
}

bool is_row_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
}

template <class T>
void read_as(const at::Tensor& values, int64_t index, std::span<float> to) {
  const T* from = values.const_data_ptr<T>() + index * static_cast<int64_t>(to.size());
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(from[i]);
}

template <class T>
void write_as(std::span<const float> from, at::Tensor& values, int64_t index) {
  T* to = values.mutable_data_ptr<T>() + index * static_cast<int64_t>(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(from[i]);
}

}  // namespace

at::Tensor float_rows(const at::Tensor& values, const std::string& name) {
  if (!is_row_type(values.scalar_type())) {
    usage_error("tensor ", name, " is ", values.scalar_type(), ", expected Float, Half or BFloat16");
  }
  if (values.dim() < 2 || values.size(-1) == 0 || values.size(-1) % quant_block != 0) {
    usage_error("tensor ", name, " is ", values.sizes(), ", expected [..., rows, in] with `in` a multiple of ",
                quant_block);
  }
  return values.detach().to(at::kCPU).contiguous();
}

void check_decoded_type(at::ScalarType type) {
  if (!is_row_type(type)) usage_error("blocks decode to Float, Half or BFloat16, not to ", type);
}

void read_row(const at::Tensor& values, int64_t index, std::span<float> to) {
  if (values.scalar_type() == at::kHalf) return read_as<at::Half>(values, index, to);
  if (values.scalar_type() == at::kBFloat16) return read_as<at::BFloat16>(values, index, to);
  read_as<float>(values, index, to);
}

void write_row(std::span<const float> from, at::Tensor& values, int64_t index) {
  if (values.scalar_type() == at::kHalf) return write_as<at::Half>(from, values, index);
  if (values.scalar_type() == at::kBFloat16) return write_as<at::BFloat16>(from, values, index);
  write_as<float>(from, values, index);
}

float finite_amax(std::span<const float> values, const at::Tensor& tensor, int64_t row, int64_t column,
                  const std::string& name) {
  uint32_t largest = 0;  // magnitudes order as their bits do, and NaN is not lost as it is in comparisons of floats
  for (const float x : values) largest = std::max(largest, std::bit_cast<uint32_t>(x) & magnitude_bits);
  if (largest < infinity_bits) return std::bit_cast<float>(largest);
  const auto bad = std::find_if(values.begin(), values.end(),
                                [](float x) { return (std::bit_cast<uint32_t>(x) & magnitude_bits) >= infinity_bits; });
  data_error("tensor ", name, " holds ", *bad, " at ",
             at::IntArrayRef(place_of(tensor, row, column + (bad - values.begin()))),
             "; only finite values can be quantised");
}

}  // namespace xinslm
