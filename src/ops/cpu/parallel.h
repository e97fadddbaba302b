#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace xinslm::cpu {

/// Rows of `width` elements that make it worth while to use another thread.
inline int64_t rows_per_thread(int64_t width) {
  constexpr int64_t elements = 16384;
  return width >= elements ? 1 : elements / (width > 0 ? width : 1);
}

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

/// Calls body(group, part, first, last) for the rows [first, last) of a group that are in a part, in parallel over the
/// parts; group g has the rows [begin[g], begin[g + 1]), each of `width` elements of work.
template <class Body>
void for_rows_of_groups(const std::vector<int64_t>& begin, int64_t width, const Body& body) {
  const int64_t rows = begin.back(), groups = static_cast<int64_t>(begin.size()) - 1;
  for_parts(rows, count_parts(rows, rows_per_thread(width)), [&](int64_t part, int64_t first, int64_t last) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t from = std::max(first, begin[group]), to = std::min(last, begin[group + 1]);
      if (from < to) body(group, part, from, to);
    }
  });
}

/// Calls body(task) for each task, on all threads, the next one to whoever is free. Tasks write to places of their own,
/// so the result does not depend on who computes what.
template <class Body>
void for_tasks(int64_t tasks, const Body& body) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), tasks), 1, [&](int64_t first, int64_t last) {
    for (int64_t thread = first; thread < last; ++thread) {
      for (int64_t task = next.fetch_add(1); task < tasks; task = next.fetch_add(1)) body(task);
    }
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
