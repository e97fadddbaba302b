#pragma once
#include <cstdint>
#include <limits>

#include "xinslm/core/error.h"

// Sizes are products of settings, each in its range, whose product may still be beyond int64_t.
namespace xinslm {

/// A number of bytes or elements that stays at the largest there is instead of overflowing: too much remains too much.
/// Never negative.
class Size {
 public:
  static constexpr int64_t largest = std::numeric_limits<int64_t>::max();

  constexpr Size(int64_t value = 0) : value_(value) {}  // NOLINT: sizes mix with plain numbers
  constexpr int64_t count() const { return value_; }

  friend constexpr Size operator+(Size a, Size b) {
    int64_t sum = 0;
    return __builtin_add_overflow(a.value_, b.value_, &sum) ? largest : sum;
  }
  friend constexpr Size operator*(Size a, Size b) {
    int64_t product = 0;
    return __builtin_mul_overflow(a.value_, b.value_, &product) ? largest : product;
  }
  constexpr Size& operator+=(Size other) { return *this = *this + other; }

 private:
  int64_t value_;
};

/// A product that has to be exact. @throws Error(usage) that calls it `what`
template <class... Factors>
int64_t exact_product(const char* what, Factors... factors) {
  const int64_t product = (Size(1) * ... * Size(factors)).count();
  if (product == Size::largest) usage_error(what, " is beyond what can be counted (2^63); use smaller numbers");
  return product;
}

}  // namespace xinslm
