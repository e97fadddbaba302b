#include "xinslm/quant/packed_tensor.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <ostream>

#include "quant/packed_parts.h"
#include "quant/rows16.h"
#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

void check_tensor(const std::string& name, std::string_view part, const at::Tensor& tensor, at::ScalarType type,
                  at::IntArrayRef sizes) {
  if (tensor.scalar_type() != type || tensor.sizes() != sizes) {
    data_error("tensor ", name, ": the ", part, " are ", tensor.scalar_type(), " ", tensor.sizes(), ", expected ", type,
               " ", sizes);
  }
}

/// A copy where the tensor does not begin at a whole vector; LibTorch's own memory does.
at::Tensor aligned(const at::Tensor& tensor) {
  constexpr uintptr_t vector_bytes = Rows16::vector_bytes;
  const bool already = !tensor.is_cpu() || reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % vector_bytes == 0;
  return already ? tensor : tensor.clone();
}

at::Tensor without_surroundings(const at::Tensor& tensor) {
  return tensor.storage().nbytes() == tensor.nbytes() ? tensor : tensor.clone();
}

}  // namespace

std::string_view layout_name(PackedLayout layout) {
  return layout == PackedLayout::checkpoint ? "checkpoint" : "rows16";
}

PackedLayout layout_of_name(std::string_view name) {
  for (const PackedLayout layout : {PackedLayout::checkpoint, PackedLayout::rows16}) {
    if (layout_name(layout) == name) return layout;
  }
  usage_error("there is no layout ", name, " of packed tensors; use checkpoint or rows16");
}

int64_t PackedTensor::bytes() const {
  return static_cast<int64_t>(values().nbytes() + scales().nbytes());
}

PackedParts PackedTensor::saved_parts() const {
  PackedParts saved = parts_;
  saved.values = without_surroundings(values());
  saved.scales = without_surroundings(scales());
  return saved;
}

std::ostream& operator<<(std::ostream& out, const PackedTensor& tensor) {
  return out << tensor.type_name() << " " << tensor.name() << " " << at::IntArrayRef(tensor.sizes()) << ", "
             << layout_name(tensor.layout()) << ", " << tensor.device() << ", " << tensor.bytes() << " bytes";
}

void check_sizes(const std::string& name, at::IntArrayRef sizes) {
  bool good = sizes.size() >= 2 && sizes.back() > 0 && sizes.back() % quant_block == 0;
  for (const int64_t size : sizes) good = good && size >= 0;
  if (!good)
    data_error("tensor ", name, " is ", sizes, ", expected [..., rows, in] with `in` a multiple of ", quant_block);
}

PackedParts checked_parts(PackedParts parts, const PackedForm& form) {
  check_tensor(parts.name, "values", parts.values, form.value_type, form.value_sizes);
  check_tensor(parts.name, "scales", parts.scales, form.scale_type, form.scale_sizes);
  parts.values = parts.values.contiguous();
  parts.scales = parts.scales.contiguous();
  if (parts.layout == PackedLayout::rows16) {
    parts.values = aligned(parts.values);
    parts.scales = aligned(parts.scales);
  }
  return parts;
}

PackedParts empty_parts(const PackedParts& from, PackedLayout layout, const PackedForm& form) {
  return {from.name, layout, from.sizes, empty_in_huge_pages(form.value_sizes, form.value_type),
          empty_in_huge_pages(form.scale_sizes, form.scale_type)};
}

PackedParts parts_on(const PackedParts& parts, at::Device device) {
  return {parts.name, parts.layout, parts.sizes, moved_to(device, parts.values, parts.values.scalar_type()),
          moved_to(device, parts.scales, parts.scales.scalar_type())};
}

std::vector<int64_t> with_last(at::IntArrayRef sizes, size_t dropped, std::initializer_list<int64_t> added) {
  std::vector<int64_t> result(sizes.begin(), sizes.end() - static_cast<ptrdiff_t>(dropped));
  result.insert(result.end(), added);
  return result;
}

}  // namespace xinslm
