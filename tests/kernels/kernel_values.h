#pragma once
// Arrays for kernels on their own, without LibTorch, and comparison with what plain arithmetic in float64 gives.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ops/cpu/kernels.h"

namespace xinslm::test {

using Doubles = std::vector<double>;

constexpr Element all_elements[] = {element_float32, element_bfloat16};

inline const char* name_of(Element element) {
  return element == element_float32 ? "float32" : "bfloat16";
}

/// `size` numbers of an element type, zero at first, aligned to 64 bytes, between guards that no kernel may touch.
class Values {
 public:
  Values(Element element, int64_t size)
      : element_(element),
        size_(size),
        guarded_bytes_((size * bytes() + 2 * guard + 63) / 64 * 64),
        memory_(static_cast<unsigned char*>(std::aligned_alloc(64, static_cast<size_t>(guarded_bytes_))), std::free) {
    std::memset(memory_.get(), guard_byte, static_cast<size_t>(guarded_bytes_));
    std::memset(data(), 0, static_cast<size_t>(size * bytes()));
  }
  Values(Element element, const Doubles& numbers) : Values(element, static_cast<int64_t>(numbers.size())) {
    for (int64_t i = 0; i < size_; ++i) set(i, numbers[static_cast<size_t>(i)]);
  }

  Element element() const { return element_; }
  int64_t size() const { return size_; }
  void* data() const { return memory_.get() + guard; }
  float* floats() const { return static_cast<float*>(data()); }

  double operator[](int64_t i) const {
    if (element_ == element_float32) return floats()[i];
    const uint32_t word = static_cast<uint32_t>(static_cast<uint16_t*>(data())[i]) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  void set(int64_t i, double number) {
    const float value = static_cast<float>(number);
    if (element_ == element_float32) {
      floats()[i] = value;
      return;
    }
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    static_cast<uint16_t*>(data())[i] = static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
  }
  Doubles numbers() const {
    Doubles all;
    for (int64_t i = 0; i < size_; ++i) all.push_back((*this)[i]);
    return all;
  }
  bool guards_intact() const {
    const auto untouched = [](unsigned char byte) { return byte == guard_byte; };
    const unsigned char* end = memory_.get() + guard + size_ * bytes();
    return std::all_of(memory_.get(), memory_.get() + guard, untouched) &&
           std::all_of(end, static_cast<const unsigned char*>(memory_.get()) + guarded_bytes_, untouched);
  }

 private:
  static constexpr int64_t guard = 128;
  static constexpr unsigned char guard_byte = 0xa5;

  int64_t bytes() const { return element_ == element_float32 ? 4 : 2; }

  Element element_;
  int64_t size_, guarded_bytes_;
  std::unique_ptr<unsigned char, void (*)(void*)> memory_;
};

inline Values random_values(Element element, int64_t size, std::mt19937& random, double spread = 1) {
  std::normal_distribution<double> normal(0, spread);
  Values values(element, size);
  for (int64_t i = 0; i < size; ++i) values.set(i, normal(random));
  return values;
}

/// Prints what went wrong; failures() is what main() returns.
class Checks {
 public:
  explicit Checks(std::string isa) : isa_(std::move(isa)) {}

  void at_most(double value, double bound, const std::string& what) {
    if (value <= bound) return;
    ++failures_;
    std::printf("%s, %s: off by %g, at most %g was expected\n", isa_.c_str(), what.c_str(), value, bound);
  }

  /// Each number of `out` within `tolerance` of the largest expected one, and rounded to the type of `out`.
  void near(const Values& out, const Doubles& expected, const std::string& what, double tolerance = 2e-6) {
    const double rounding = out.element() == element_float32 ? 0 : 1.0 / 256;
    double largest = 0, worst = 0;
    for (const double number : expected) largest = std::max(largest, std::abs(number));
    for (int64_t i = 0; i < out.size(); ++i) {
      const double number = expected[static_cast<size_t>(i)], off = std::abs(out[i] - number);
      worst = std::max(worst, std::isnan(off) ? HUGE_VAL : off - rounding * std::abs(number));
    }
    at_most(largest > 0 ? worst / largest : worst, tolerance, what + " " + name_of(out.element()));
    at_most(out.guards_intact() ? 0 : 1, 0, what + " writes beyond its output");
  }

  int failures() const { return failures_; }

 private:
  std::string isa_;
  int failures_ = 0;
};

/// "NAME, A x B"
inline std::string at_size(const char* name, int64_t a, int64_t b) {
  return std::string(name) + ", " + std::to_string(a) + " x " + std::to_string(b);
}

/// Whether the kernels being checked multiply pairs of bfloat16, and round what else goes into such products.
bool multiplies_pairs();

// Each instruction set's kernels of one table beside plain arithmetic, on sizes that are no multiple of a vector.
void check_row_kernels(Checks& checks);
void check_training_kernels(Checks& checks);
void check_moe_kernels(Checks& checks);
void check_attention_kernels(Checks& checks);
void check_decode_kernels(Checks& checks);
void check_packed_kernels(Checks& checks);
void check_compact_kernels(Checks& checks);

}  // namespace xinslm::test
