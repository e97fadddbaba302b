#include "xinslm/core/mapped_tensor.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "core/pages.h"
#include "xinslm/core/machine.h"

namespace xinslm {
namespace {

using Owner = std::shared_ptr<MappedFile>;

/// Tells our maps from other memory: dropping pages of those would lose what is in them.
void release_owner(void* owner) {
  delete static_cast<Owner*>(owner);
}

}  // namespace

at::Tensor map_tensor(const Owner& file, size_t offset, at::IntArrayRef sizes, at::ScalarType type) {
  auto* start = const_cast<std::byte*>(file->bytes().data() + offset);
  const auto options = at::TensorOptions().dtype(type);
  return at::for_blob(start, sizes).context(new Owner(file), release_owner).options(options).make_tensor();
}

bool is_mapped(const at::Tensor& tensor) {
  return tensor.has_storage() && tensor.storage().data_ptr().get_deleter() == &release_owner;
}

void forget_pages(const at::Tensor& tensor) {
  if (!is_mapped(tensor) || !tensor.is_contiguous()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()), end = begin + tensor.nbytes();
  const Pages pages = whole_pages(begin, end, page);
  if (pages.bytes == 0) return;
#ifdef MADV_PAGEOUT
  constexpr int64_t little = 8;  // part of the machine's memory
  if (unused_memory() < total_memory() / little) ::madvise(pages.begin, pages.bytes, MADV_PAGEOUT);
#endif
  ::madvise(pages.begin, pages.bytes, MADV_DONTNEED);
}

at::Tensor moved_to(at::Device device, const at::Tensor& tensor, at::ScalarType type) {
  if (device.is_cpu() || !tensor.is_cpu()) return tensor.to(device, type);
  const bool unknown_there = tensor.scalar_type() == at::kDouble;  // Apple's GPU has no float64
  const at::Tensor there = (unknown_there ? tensor.to(type) : tensor).to(device).to(type);
  forget_pages(tensor);
  return there;
}

}  // namespace xinslm
