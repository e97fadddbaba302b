#pragma once
#include <limits>
#include <string>
#include <utility>
#include <vector>

// The words a settings struct describes its fields with. A struct has
//
//   template <class V> void describe(V& field) {
//     field("learning_rate", learning_rate, above(0.0), "peak learning rate");
//   }
//
// and everything that needs the fields (YAML, --set, help, dump, validation) walks describe() with a visitor of its
// own. Values are bool, int64_t, double, std::string or std::vector<std::string>.
namespace xinslm {

/// What a value may be: a range for numbers, a list of words for strings. A range ends where the arithmetic behind it
/// would: what is inside gives a result, whatever else is set. A range of whole numbers without an end holds all of
/// int64_t.
struct Rule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;   ///< low itself is not allowed
  bool high_open = false;  ///< high itself is not allowed
  bool or_zero = false;    ///< 0 is allowed besides, and means "off"
  std::vector<std::string> choices = {};
};

inline Rule anything() {
  return {};
}
inline Rule at_least(double low) {
  return {.low = low};
}
inline Rule above(double low) {
  return {.low = low, .low_open = true};
}
inline Rule between(double low, double high) {
  return {.low = low, .high = high};
}
/// low <= value < high
inline Rule from_to_below(double low, double high) {
  return {.low = low, .high = high, .high_open = true};
}
/// low < value <= high
inline Rule above_to(double low, double high) {
  return {.low = low, .high = high, .low_open = true};
}
/// 0, or low <= value <= high
inline Rule zero_or(double low, double high) {
  return {.low = low, .high = high, .or_zero = true};
}
inline Rule one_of(std::vector<std::string> choices) {
  return {.choices = std::move(choices)};
}

}  // namespace xinslm
