#include "xinslm/core/memory_bandwidth.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "xinslm/core/huge_pages.h"

namespace xinslm {
namespace {

constexpr int64_t words = 64 << 20;
constexpr int passes = 6;

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

double measure_read_bandwidth() {
  const at::Tensor buffer = empty_in_huge_pages({words}, at::kLong).fill_(1);
  const auto* from = reinterpret_cast<const uint64_t*>(buffer.const_data_ptr<int64_t>());
  std::atomic<uint64_t> total{0};  // keeps the reading from being optimised away
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    at::parallel_for(0, words, words / at::get_num_threads() / 4 + 1,
                     [&](int64_t begin, int64_t end) { total += sum(from + begin, end - begin); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(words) * sizeof(uint64_t) / seconds);
  }
  return total > 0 ? best : 0;
}

}  // namespace xinslm
