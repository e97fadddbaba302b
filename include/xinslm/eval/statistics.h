#pragma once
#include <cstdint>
#include <span>

namespace xinslm {

/// A mean over items and how far it may be off.
struct Estimate {
  double value = 0;
  double standard_error = 0;  ///< sample standard deviation / sqrt(n); 0 for fewer than two items
  double deviation = 0;       ///< sample standard deviation, with n - 1
  int64_t count = 0;
};

/// For answers that are right (1) or wrong (0) the standard error is sqrt(p (1 - p) / (n - 1)), as
/// lm-evaluation-harness gives it.
Estimate estimate(std::span<const double> items);

/// The middle item, or the mean of the two in the middle; 0 for none.
double median(std::span<const double> items);

}  // namespace xinslm
