#include <ATen/ATen.h>

#include <functional>

#include "quant/packed_parts.h"
#include "quant/rows16.h"
#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"
#include "xinslm/quant/packed_tensor.h"
#include "xinslm/quant/q8.h"

namespace xinslm {
namespace {

constexpr uint32_t offset = 0x80808080;  // adding 128 to a byte, or taking it away, flips its highest bit
constexpr int64_t word_columns = Q8Format::lane_columns;  // a word of 32 bits is a lane

PackedForm form_of(PackedLayout layout, at::IntArrayRef sizes) {
  const int64_t rows = sizes[sizes.size() - 2], blocks = sizes.back() / quant_block;
  if (layout == PackedLayout::checkpoint) return {at::kChar, sizes.vec(), at::kHalf, with_last(sizes, 1, {blocks})};
  const int64_t groups = row_groups(rows);
  return {at::kByte, with_last(sizes, 2, {groups, blocks, lanes * quant_block}), at::kHalf,
          with_last(sizes, 2, {groups, blocks, lanes})};
}

PackedParts checked(PackedParts parts) {
  check_sizes(parts.name, parts.sizes);
  const PackedForm form = form_of(parts.layout, parts.sizes);
  return checked_parts(std::move(parts), form);
}

uint32_t shift_by_128(uint32_t word) {
  return word ^ offset;
}

}  // namespace

Q8Tensor::Q8Tensor(PackedParts parts) : PackedTensor(checked(std::move(parts))) {}

c10::intrusive_ptr<Q8Tensor> Q8Tensor::from_checkpoint(const at::Tensor& values, const at::Tensor& scales,
                                                       const std::string& name) {
  return c10::make_intrusive<Q8Tensor>(
      PackedParts{name, PackedLayout::checkpoint, values.sizes().vec(), values, scales});
}

c10::intrusive_ptr<Q8Tensor> Q8Tensor::repack(PackedLayout wanted) const {
  if (wanted == layout()) return c10::make_intrusive<Q8Tensor>(parts());
  if (!device().is_cpu()) return to(at::kCPU)->repack(wanted)->to(device());
  PackedParts packed = empty_parts(parts(), wanted, form_of(wanted, sizes()));
  const int64_t words = sizes().back() / word_columns, blocks = sizes().back() / quant_block;
  if (wanted == PackedLayout::rows16) {
    rows_to_lanes<uint32_t, uint32_t>(values(), packed.values, sizes(), words, offset, shift_by_128);
    rows_to_lanes<uint16_t, uint16_t>(scales(), packed.scales, sizes(), blocks, 0, std::identity());
  } else {
    lanes_to_rows<uint32_t, uint32_t>(values(), packed.values, sizes(), words, shift_by_128);
    lanes_to_rows<uint16_t, uint16_t>(scales(), packed.scales, sizes(), blocks, std::identity());
  }
  return c10::make_intrusive<Q8Tensor>(std::move(packed));
}

c10::intrusive_ptr<Q8Tensor> Q8Tensor::to(at::Device device) const {
  return c10::make_intrusive<Q8Tensor>(parts_on(parts(), device));
}

c10::intrusive_ptr<Q8Tensor> Q8Tensor::for_products(at::Device device) const {
  return products_form(*this, device);
}

at::Tensor Q8Tensor::dequantize(at::ScalarType type) const {
  const auto plain = repack(PackedLayout::checkpoint);
  return dequantize_q8(plain->values(), plain->scales(), type);
}

at::Tensor Q8Tensor::select_rows(const at::Tensor& ids, at::ScalarType type) const {
  if (sizes().size() != 2) usage_error("tensor ", name(), " is ", at::IntArrayRef(sizes()), ", expected one matrix");
  std::vector<int64_t> result = ids.sizes().vec();
  result.push_back(sizes().back());
  if (!device().is_cpu()) {
    const at::Tensor wanted = ids.flatten().to(device());
    const at::Tensor integers = values().index_select(0, wanted).unflatten(1, {-1, quant_block}).to(at::kFloat);
    const at::Tensor factors = scales().index_select(0, wanted).to(at::kFloat);
    return (integers * factors.unsqueeze(-1)).reshape(result).to(type);
  }
  const at::Tensor wanted = ids.to(at::kCPU).flatten().contiguous();
  at::Tensor rows = at::empty(result, at::kFloat);
  for (int64_t i = 0; i < wanted.numel(); ++i) {
    decode_row(wanted.const_data_ptr<int64_t>()[i], rows.mutable_data_ptr<float>() + i * sizes().back());
  }
  return rows.to(type);
}

void Q8Tensor::decode_row(int64_t row, float* to) const {
  const int64_t width = sizes().back(), blocks = width / quant_block;
  for (int64_t b = 0; b < blocks; ++b, to += quant_block) {
    if (layout() == PackedLayout::checkpoint) {
      const auto* from = static_cast<const int8_t*>(value_data()) + row * width + b * quant_block;
      const float scale = load<at::Half>(scale_data(), row * blocks + b);
      for (int64_t i = 0; i < quant_block; ++i) to[i] = static_cast<float>(from[i]) * scale;
    } else {
      const int64_t place = row / lanes * blocks + b, lane = row % lanes;
      const auto* from = static_cast<const uint8_t*>(value_data()) + place * lanes * quant_block + lane * word_columns;
      const float scale = load<at::Half>(scale_data(), place * lanes + lane);
      for (int64_t i = 0; i < quant_block; ++i) {
        const uint8_t code = from[i / word_columns * lanes * word_columns + i % word_columns];
        to[i] = static_cast<float>(code - 128) * scale;
      }
    }
  }
}

}  // namespace xinslm
