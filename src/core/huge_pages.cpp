#include "xinslm/core/huge_pages.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "core/pages.h"
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace xinslm {
namespace {

constexpr int64_t line = 64;                         // bytes; where each tensor begins
constexpr int64_t shared_bytes = int64_t{32} << 20;  // of the memory that small tensors lie in together

/// Memory that begins with a large page. What is not written to takes none.
at::Tensor allocate(int64_t bytes) {
  constexpr auto page = static_cast<int64_t>(huge_page_bytes);
  const at::Tensor memory = at::empty({bytes + page}, at::kByte);
  const auto begin = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory.const_data_ptr()));
  const at::Tensor aligned = memory.narrow(0, (page - begin % page) % page, bytes);
  use_huge_pages(aligned);
  return aligned;
}

/// Small tensors one behind the other. The memory goes when the last of them does.
at::Tensor take_shared(int64_t bytes) {
  static std::mutex taking;
  static at::Tensor shared;
  static int64_t taken = shared_bytes;
  const std::lock_guard lock(taking);
  if (taken + bytes > shared_bytes) {
    shared = allocate(shared_bytes);
    taken = 0;
  }
  const at::Tensor part = shared.narrow(0, taken, bytes);
  taken += (bytes + line - 1) / line * line;
  return part;
}

}  // namespace

void use_huge_pages([[maybe_unused]] const at::Tensor& tensor) {
#ifdef __linux__
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()), end = begin + tensor.nbytes();
  const Pages pages = whole_pages(begin, end, huge_page_bytes);
  // Refused where the system does without: then pages stay as they are.
  if (pages.bytes > 0) ::madvise(pages.begin, pages.bytes, MADV_HUGEPAGE);
#endif
}

at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, at::ScalarType type) {
  const int64_t bytes = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(type));
  if (bytes == 0) return at::empty(sizes, type);
  const at::Tensor memory = bytes > shared_bytes / 2 ? allocate(bytes) : take_shared(bytes);
  return memory.view(type).view(sizes);
}

at::Tensor empty_from_huge_page(at::IntArrayRef sizes, at::ScalarType type) {
  const int64_t bytes = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(type));
  if (bytes < static_cast<int64_t>(huge_page_bytes)) return at::empty(sizes, type);
  return allocate(bytes).view(type).view(sizes);
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
