#include "xinslm/eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace xinslm {

Estimate estimate(std::span<const double> items) {
  Estimate result;
  result.count = static_cast<int64_t>(items.size());
  if (items.empty()) return result;
  const auto n = static_cast<double>(items.size());
  result.value = std::accumulate(items.begin(), items.end(), 0.0) / n;
  if (items.size() < 2) return result;
  double squares = 0;
  for (const double item : items) squares += (item - result.value) * (item - result.value);
  result.deviation = std::sqrt(squares / (n - 1));
  result.standard_error = result.deviation / std::sqrt(n);
  return result;
}

double median(std::span<const double> items) {
  if (items.empty()) return 0;
  std::vector<double> sorted(items.begin(), items.end());
  std::ranges::sort(sorted);
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace xinslm
