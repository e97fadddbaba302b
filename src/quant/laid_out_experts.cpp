#include "xinslm/quant/laid_out_experts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "quant/mxfp4_layout.h"
#include "quant/rows16.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr int most_apart = 15;

/// Whether a block of 16 bytes is all zeros, of either sign.
bool is_zero_block(const uint8_t* codes) {
  constexpr uint8_t sizes = 0x77;  // the codes without their signs
  return std::all_of(codes, codes + Mxfp4Format::value_bytes, [](uint8_t pair) { return (pair & sizes) == 0; });
}

/// The scale that half a byte of zero stands for, or none where the scales are too far apart. Blocks of zeros may have
/// any scale.
std::optional<uint8_t> least_scale_of(const Mxfp4Tensor& source) {
  if (source.scales().numel() == 0) return 0;
  const auto [least, most] = source.scales().aminmax();
  const int low = least.item<uint8_t>(), high = most.item<uint8_t>();
  if (high - low <= most_apart) return static_cast<uint8_t>(low);
  const auto wanted = static_cast<uint8_t>(high - most_apart);
  const auto* scales = static_cast<const uint8_t*>(source.scale_data());
  const auto* codes = static_cast<const uint8_t*>(source.value_data());
  for (int64_t block = 0; block < source.scales().numel(); ++block) {
    if (scales[block] < wanted && !is_zero_block(codes + block * Mxfp4Format::value_bytes)) return std::nullopt;
  }
  return wanted;
}

}  // namespace

LaidOutExperts::LaidOutExperts(const Mxfp4Tensor& source) {
  if (source.layout() == PackedLayout::rows16) {
    values_ = source.values();
    scales_ = source.scales();
  } else {
    const int64_t experts = source.sizes()[0], groups = row_groups(source.sizes()[1]);
    const int64_t blocks = source.sizes()[2] / quant_block;
    values_ = empty_in_huge_pages({experts, groups, blocks, lanes * Mxfp4Format::value_bytes}, at::kByte);
    values_to_rows16(source, values_);
    if (const std::optional<uint8_t> least = least_scale_of(source)) {
      in_halves_ = true;
      least_scale_ = *least;
      scales_ = empty_in_huge_pages({experts, groups, (blocks + 1) / 2, lanes}, at::kByte);
      fill_halves(source);
    } else {
      scales_ = empty_in_huge_pages({experts, groups, blocks, lanes}, at::kByte);
      scales_to_rows16(source, scales_);
    }
    forget_pages(source.values());
    forget_pages(source.scales());
  }
  value_data_ = static_cast<const uint8_t*>(values_.const_data_ptr());
  scale_data_ = static_cast<const uint8_t*>(scales_.const_data_ptr());
  groups_ = values_.size(1);
  values_per_group_ = values_.size(2) * values_.size(3);
  scales_per_group_ = scales_.size(2) * scales_.size(3);
}

void LaidOutExperts::fill_halves(const Mxfp4Tensor& source) {
  const int64_t blocks = source.sizes()[2] / quant_block, pairs = scales_.size(2);
  const auto* from = static_cast<const uint8_t*>(source.scale_data());
  auto* to = scales_.mutable_data_ptr<uint8_t>();
  for_row_groups(source.sizes(), [&](int64_t first, int64_t rows, int64_t group) {
    uint8_t* target = to + group * pairs * lanes;
    std::fill_n(target, pairs * lanes, uint8_t{0});
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = from + (first + r) * blocks;
      for (int64_t b = 0; b < blocks; ++b) {
        const int half = std::max(0, row[b] - least_scale_);  // below it there are only zeros
        target[b / 2 * lanes + r] |= static_cast<uint8_t>(half << (b % 2 * 4));
      }
    }
  });
}

}  // namespace xinslm
