#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>

namespace xinslm {

/// Of one large page.
inline constexpr size_t huge_page_bytes = size_t{2} << 20;

/// Asks the system to back memory, not yet written to, with large pages. Reading weights in order is bound by memory,
/// and with 4 KiB pages a virtual machine reaches two thirds to three quarters of what it does with 2 MiB pages
/// (docs/performance.md). Does nothing for small tensors and but on Linux.
void use_huge_pages(const at::Tensor& tensor);

/// at::empty() on the CPU with large pages. Small tensors lie one behind the other in shared ones, which are freed with
/// the last of them: for what stays long.
at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, at::ScalarType type);

/// at::empty() on the CPU, from the beginning of a large page on where it fills one: for what is replaced soon.
at::Tensor empty_from_huge_page(at::IntArrayRef sizes, at::ScalarType type);

/// A copy of a CPU tensor in large pages, made on all threads.
at::Tensor copy_to_huge_pages(const at::Tensor& tensor);

}  // namespace xinslm
