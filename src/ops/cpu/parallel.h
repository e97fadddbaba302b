#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace xinslm::cpu {

/// Parts into which `rows` are cut so that each thread has one, of at least `least` rows. The same for the same number
/// of threads, so sums formed by part are, too.
inline int64_t count_parts(int64_t rows, int64_t least) {
  return std::clamp<int64_t>(rows / std::max<int64_t>(least, 1), 1, at::get_num_threads());
}

/// Calls body(part, begin, end) for each part, in parallel.
template <class Body>
void for_parts(int64_t rows, int64_t parts, const Body& body) {
  at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) body(part, rows * part / parts, rows * (part + 1) / parts);
  });
}

/// One row of sums for each part, zero at first: [parts, width] float32.
inline at::Tensor partial_sums(int64_t parts, int64_t width) {
  return at::zeros({parts, width}, at::TensorOptions().dtype(at::kFloat));
}

/// The parts' sums added in their order: [width].
inline at::Tensor add_parts(const at::Tensor& sums) {
  return sums.size(0) == 1 ? sums[0] : sums.sum(0);
}

}  // namespace xinslm::cpu
