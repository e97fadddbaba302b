#pragma once
#include <cstddef>
#include <cstdint>

namespace xinslm {

/// Memory as the system takes advice about it.
struct Pages {
  void* begin;
  size_t bytes;  // 0 = none
};

/// The pages of `page_bytes` that lie in [begin, end) as a whole.
inline Pages whole_pages(uintptr_t begin, uintptr_t end, uintptr_t page_bytes) {
  const uintptr_t first = (begin + page_bytes - 1) / page_bytes * page_bytes, last = end / page_bytes * page_bytes;
  return {reinterpret_cast<void*>(first), first < last ? last - first : 0};
}

}  // namespace xinslm
