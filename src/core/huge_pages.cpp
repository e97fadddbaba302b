#include "xinslm/core/huge_pages.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdint>
#include <cstring>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace xinslm {

void use_huge_pages([[maybe_unused]] const at::Tensor& tensor) {
#ifdef __linux__
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()), end = begin + tensor.nbytes();
  const uintptr_t first = (begin + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes,
                  last = end / huge_page_bytes * huge_page_bytes;
  // Refused where the system does without: then pages stay as they are.
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor tensor = at::empty(sizes, type);
  use_huge_pages(tensor);
  return tensor;
}

at::Tensor copy_to_huge_pages(const at::Tensor& tensor) {
  const at::Tensor from = tensor.contiguous();
  at::Tensor copy = empty_in_huge_pages(from.sizes(), from.scalar_type());
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(copy.mutable_data_ptr());
  at::parallel_for(0, static_cast<int64_t>(from.nbytes()), static_cast<int64_t>(huge_page_bytes),
                   [&](int64_t begin, int64_t end) {
                     std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
                   });
  return copy;
}

}  // namespace xinslm
