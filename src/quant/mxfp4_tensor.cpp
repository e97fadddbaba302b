#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "quant/mxfp4_layout.h"
#include "quant/packed_parts.h"
#include "quant/rows16.h"
#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {
namespace {

static_assert(std::endian::native == std::endian::little, "words of codes are read with their first column lowest");

constexpr int64_t block_bytes = Mxfp4Format::value_bytes;
constexpr int64_t word_columns = Mxfp4Format::lane_columns;  // a word of 32 bits is a lane
constexpr uint8_t nan_scale = 255;

PackedForm form_of(PackedLayout layout, at::IntArrayRef sizes) {
  const int64_t rows = sizes[sizes.size() - 2], blocks = sizes.back() / quant_block;
  if (layout == PackedLayout::checkpoint) {
    return {at::kByte, with_last(sizes, 1, {blocks, block_bytes}), at::kByte, with_last(sizes, 1, {blocks})};
  }
  const int64_t groups = row_groups(rows);
  return {at::kByte, with_last(sizes, 2, {groups, blocks, lanes * block_bytes}), at::kByte,
          with_last(sizes, 2, {groups, blocks, lanes})};
}

PackedParts checked(PackedParts parts) {
  check_sizes(parts.name, parts.sizes);
  const PackedForm form = form_of(parts.layout, parts.sizes);
  return checked_parts(std::move(parts), form);
}

/// Four codes apart by a byte each: 0x4321 becomes 0x04030201.
constexpr uint32_t spread(uint32_t codes) {
  codes = (codes | codes << 8) & 0x00ff00ff;
  return (codes | codes << 4) & 0x0f0f0f0f;
}

/// The inverse of spread.
constexpr uint32_t gather(uint32_t codes) {
  codes = (codes | codes >> 4) & 0x00ff00ff;
  return (codes | codes >> 8) & 0x0000ffff;
}

/// Eight codes in the order of columns to columns 0 to 3 in the low halves of the bytes and 4 to 7 in the high ones.
/// Like join_columns no function but an object, so that it is inlined where all weights pass through it.
constexpr auto split_columns = [](uint32_t word) { return spread(word & 0xffff) | spread(word >> 16) << 4; };

constexpr auto join_columns = [](uint32_t word) {
  return gather(word & 0x0f0f0f0f) | gather(word >> 4 & 0x0f0f0f0f) << 16;
};

}  // namespace

void reject_nan_scales(const Mxfp4Tensor& tensor) {
  const at::Tensor scales = tensor.scales().to(at::kCPU);
  if (scales.numel() == 0 || scales.max().item<uint8_t>() != nan_scale) return;
  const at::Tensor found = scales.eq(nan_scale).nonzero();
  const std::vector<int64_t> place(found.const_data_ptr<int64_t>(), found.const_data_ptr<int64_t>() + found.size(1));
  data_error("tensor ", tensor.name(), ": the scale of block ", at::IntArrayRef(place),
             " is 255, which makes the block NaN; is the file damaged?");
}

void values_to_rows16(const Mxfp4Tensor& source, at::Tensor& to) {
  const int64_t words = source.sizes().back() / word_columns;
  rows_to_lanes<uint32_t, uint32_t>(source.values(), to, source.sizes(), words, 0, split_columns);
}

void scales_to_rows16(const Mxfp4Tensor& source, at::Tensor& to) {
  const int64_t blocks = source.sizes().back() / quant_block;
  rows_to_lanes<uint8_t, uint8_t>(source.scales(), to, source.sizes(), blocks, 0, std::identity());
}

Mxfp4Tensor::Mxfp4Tensor(PackedParts parts) : PackedTensor(checked(std::move(parts))) {}

c10::intrusive_ptr<Mxfp4Tensor> Mxfp4Tensor::from_checkpoint(const at::Tensor& blocks, const at::Tensor& scales,
                                                             const std::string& name) {
  if (blocks.dim() < 3) {
    data_error("tensor ", name, ": the blocks are ", blocks.sizes(), ", expected [..., rows, in / 32, 16]");
  }
  const int64_t in = blocks.size(-2) * quant_block;
  return c10::make_intrusive<Mxfp4Tensor>(
      PackedParts{name, PackedLayout::checkpoint, with_last(blocks.sizes(), 2, {in}), blocks, scales});
}

c10::intrusive_ptr<Mxfp4Tensor> Mxfp4Tensor::repack(PackedLayout wanted) const {
  if (wanted == layout()) return c10::make_intrusive<Mxfp4Tensor>(parts());
  if (!device().is_cpu()) return to(at::kCPU)->repack(wanted)->to(device());
  PackedParts packed = empty_parts(parts(), wanted, form_of(wanted, sizes()));
  if (wanted == PackedLayout::rows16) {
    reject_nan_scales(*this);
    values_to_rows16(*this, packed.values);
    scales_to_rows16(*this, packed.scales);
  } else {
    const int64_t words = sizes().back() / word_columns, blocks = sizes().back() / quant_block;
    lanes_to_rows<uint32_t, uint32_t>(values(), packed.values, sizes(), words, join_columns);
    lanes_to_rows<uint8_t, uint8_t>(scales(), packed.scales, sizes(), blocks, std::identity());
  }
  return c10::make_intrusive<Mxfp4Tensor>(std::move(packed));
}

c10::intrusive_ptr<Mxfp4Tensor> Mxfp4Tensor::to(at::Device device) const {
  return c10::make_intrusive<Mxfp4Tensor>(parts_on(parts(), device));
}

c10::intrusive_ptr<Mxfp4Tensor> Mxfp4Tensor::for_products(at::Device device) const {
  return products_form(*this, device);
}

at::Tensor Mxfp4Tensor::dequantize(at::ScalarType type) const {
  const auto plain = repack(PackedLayout::checkpoint);
  return dequantize_mxfp4(plain->values(), plain->scales(), type);
}

}  // namespace xinslm
