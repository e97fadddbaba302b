#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace xinslm::cpu {

/// Groups of neighbouring rows: group g has the rows [begin[g], begin[g + 1]); what experts compute together.
using GroupBegins = std::vector<int64_t>;

/// c[rows of g] = a[rows of g] * b[g], or * b[g]^T when `transposed`. Sums are formed in float32.
///
/// @param a  [R, k] dense float32 or bfloat16
/// @param b  [G, k, n] dense, or [G, n, k] when transposed; type of a
/// @param c  [R, n] dense, type of a
void grouped_product(const at::Tensor& a, const GroupBegins& begin, const at::Tensor& b, bool transposed,
                     const at::Tensor& c);

/// c[g] = a[rows of g]^T * b[rows of g], zero for a group without rows.
///
/// @param a  [R, m], @param b [R, n], @param c [G, m, n]; dense, one type
void grouped_outer_product(const at::Tensor& a, const at::Tensor& b, const GroupBegins& begin, const at::Tensor& c);

}  // namespace xinslm::cpu
