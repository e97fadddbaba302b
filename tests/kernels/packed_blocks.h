#pragma once
// Random packed weights in layout rows16 and what they are worth, in plain C++: for tests of kernels on their own,
// without LibTorch, so that they can be built for other processors.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace xinslm::test {

constexpr int64_t block = 32, group_rows = 16;

/// 16 rows of `blocks` blocks; weights [16, blocks * 32] are what values and scales stand for.
template <class Scale>
struct PackedGroup {
  std::vector<uint8_t> values;
  std::vector<Scale> scales;
  std::vector<double> weights;
};

/// Where the byte of (row, column) lies, in bytes from the start of its block.
inline int64_t mxfp4_byte(int64_t row, int64_t column) {
  return column / 8 * 64 + row * 4 + column % 4;
}
inline int64_t q8_byte(int64_t row, int64_t column) {
  return column / 4 * 64 + row * 4 + column % 4;
}

inline PackedGroup<uint8_t> random_mxfp4(int64_t blocks, std::mt19937& random) {
  constexpr double worth[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
  PackedGroup<uint8_t> group;
  group.values.resize(static_cast<size_t>(blocks * 256));
  group.weights.resize(static_cast<size_t>(group_rows * blocks * block));
  for (uint8_t& byte : group.values) byte = static_cast<uint8_t>(random());
  for (int64_t i = 0; i < blocks * group_rows; ++i) group.scales.push_back(static_cast<uint8_t>(120 + random() % 12));
  group.scales[0] = 0;  // counts as zero
  for (int64_t row = 0; row < group_rows; ++row) {
    for (int64_t column = 0; column < blocks * block; ++column) {
      const int64_t b = column / block;
      const uint8_t pair = group.values[static_cast<size_t>(b * 256 + mxfp4_byte(row, column % block))];
      const uint8_t scale = group.scales[static_cast<size_t>(b * group_rows + row)];
      group.weights[static_cast<size_t>(row * blocks * block + column)] =
          scale == 0 ? 0 : worth[column % 8 < 4 ? pair & 15 : pair >> 4] * std::ldexp(1.0, scale - 127);
    }
  }
  return group;
}

/// The bits of a positive float16 that is not subnormal; value must be one.
inline uint16_t float16_bits(double value) {
  const int exponent = std::ilogb(value);
  return static_cast<uint16_t>((exponent + 15) << 10 | static_cast<int>((std::ldexp(value, -exponent) - 1) * 1024));
}

inline PackedGroup<uint16_t> random_q8(int64_t blocks, std::mt19937& random) {
  PackedGroup<uint16_t> group;
  std::vector<double> scales;
  group.values.resize(static_cast<size_t>(blocks * 512));
  group.weights.resize(static_cast<size_t>(group_rows * blocks * block));
  for (uint8_t& byte : group.values) byte = static_cast<uint8_t>(1 + random() % 255);
  for (int64_t i = 0; i < blocks * group_rows; ++i) {
    scales.push_back(static_cast<double>(1 + random() % 9) / 1024);
    group.scales.push_back(float16_bits(scales.back()));
  }
  for (int64_t row = 0; row < group_rows; ++row) {
    for (int64_t column = 0; column < blocks * block; ++column) {
      const int64_t b = column / block;
      group.weights[static_cast<size_t>(row * blocks * block + column)] =
          (group.values[static_cast<size_t>(b * 512 + q8_byte(row, column % block))] - 128.0) *
          scales[static_cast<size_t>(b * group_rows + row)];
    }
  }
  return group;
}

inline std::vector<float> random_floats(int64_t size, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(size));
  for (float& value : x) value = normal(random);
  return x;
}

/// The largest difference between out [rows, 16] and x [rows, width] * weights^T, divided by the largest product.
inline double distance(const std::vector<float>& out, const std::vector<double>& x, int64_t rows,
                       const std::vector<double>& weights) {
  const int64_t width = static_cast<int64_t>(weights.size()) / group_rows;
  double worst = 0, largest = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < group_rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < width; ++k) {
        sum += x[static_cast<size_t>(row * width + k)] * weights[static_cast<size_t>(i * width + k)];
      }
      largest = std::max(largest, std::abs(sum));
      worst = std::max(worst, std::abs(sum - out[static_cast<size_t>(row * group_rows + i)]));
    }
  }
  return worst / largest;
}

}  // namespace xinslm::test
