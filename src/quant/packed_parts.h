#pragma once
#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "xinslm/core/mapped_tensor.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// What the two tensors of a packed tensor must be.
struct PackedForm {
  at::ScalarType value_type;
  std::vector<int64_t> value_sizes;
  at::ScalarType scale_type;
  std::vector<int64_t> scale_sizes;
};

/// Checks the parts and returns them contiguous and, in rows16 on the CPU, aligned.
/// @throws Error(data), naming the tensor, with what was found and expected
PackedParts checked_parts(PackedParts parts, const PackedForm& form);

/// @throws Error(data) unless sizes are [..., rows, in], none negative, `in` a positive multiple of 32
void check_sizes(const std::string& name, at::IntArrayRef sizes);

/// Parts of the same name and sizes with room for another layout, on the CPU.
PackedParts empty_parts(const PackedParts& from, PackedLayout layout, const PackedForm& form);

/// The same parts on another device.
PackedParts parts_on(const PackedParts& parts, at::Device device);

/// What Mxfp4Tensor and Q8Tensor have for_products() give.
template <class Packed>
c10::intrusive_ptr<Packed> products_form(const Packed& tensor, at::Device device) {
  const auto form = tensor.repack(device.is_cpu() ? PackedLayout::rows16 : PackedLayout::checkpoint)->to(device);
  if (!form->values().is_alias_of(tensor.values())) {
    forget_pages(tensor.values());
    forget_pages(tensor.scales());
  }
  return form;
}

/// The sizes with the last ones replaced: with_last({E, rows, in}, 2, {G, 16}) is {E, G, 16}.
std::vector<int64_t> with_last(at::IntArrayRef sizes, size_t dropped, std::initializer_list<int64_t> added);

}  // namespace xinslm
