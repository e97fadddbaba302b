#include "xinslm/core/memory_bandwidth.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace xinslm {
namespace {

constexpr int64_t least_words = 1 << 16;  // that make another thread worth while

/// Several sums at once, so that additions do not wait for each other.
uint64_t sum(const uint64_t* from, int64_t count) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += from[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t one : sums) total += one;
  return total;
}

}  // namespace

double measure_read_bandwidth(const std::vector<at::Tensor>& tensors, int passes) {
  std::atomic<uint64_t> total{0};  // keeps the reading from being optimised away
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    double bytes = 0;
    for (const at::Tensor& tensor : tensors) {
      const auto* from = static_cast<const uint64_t*>(tensor.const_data_ptr());
      const auto words = static_cast<int64_t>(tensor.nbytes() / sizeof(uint64_t));
      at::parallel_for(0, words, least_words,
                       [&](int64_t begin, int64_t end) { total += sum(from + begin, end - begin); });
      bytes += static_cast<double>(tensor.nbytes());
    }
    best = std::max(best, bytes / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return total > 0 ? best : 0;
}

}  // namespace xinslm
