#include "ops/cpu/packed_kernels.h"

#include "kernels/kernel_values.h"
#include "kernels/packed_blocks.h"

namespace xinslm::test {
namespace {

struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<DotStart> starts;
  Doubles worth;
  QuantizedRows rows() const { return {codes.data(), scales.data(), starts.data()}; }
};

/// With the row beyond the last that products read.
Quantized quantized(const std::vector<float>& x, int64_t rows, int64_t blocks) {
  const auto all = static_cast<size_t>((rows + 1) * blocks);
  Quantized q{std::vector<int8_t>(all * block), std::vector<float>(all), std::vector<DotStart>(all), {}};
  packed_kernels().quantize(x.data(), rows * blocks, q.codes.data(), q.scales.data(), q.starts.data());
  for (size_t i = 0; i < x.size(); ++i) q.worth.push_back(static_cast<double>(q.codes[i]) * q.scales[i / block]);
  return q;
}

void check_products(int64_t blocks, std::mt19937& random, Checks& checks) {
  const auto four = random_mxfp4(blocks, random);
  const auto eight = random_q8(blocks, random);
  for (int64_t rows = 1; rows <= 67; ++rows) {
    const std::vector<float> x = random_floats(rows * blocks * block, random);
    const Quantized q = quantized(x, rows, blocks);
    double rounding = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      rounding = std::max(rounding, std::abs(x[i] - q.worth[i]) / q.scales[i / block]);
    }
    checks.at_most(rounding, 0.5001, at_size("quantize", rows, blocks));
    std::vector<float> out(static_cast<size_t>(rows * group_rows));
    packed_kernels().mxfp4(four.values.data(), four.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
    checks.at_most(distance(out, q.worth, rows, four.weights), 2e-6, at_size("mxfp4", rows, blocks));
    packed_kernels().q8(eight.values.data(), eight.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
    checks.at_most(distance(out, q.worth, rows, eight.weights), 2e-6, at_size("q8", rows, blocks));
  }
}

/// Code of column `column` of a row of checkpoint values.
int code_at(const uint8_t* row, int64_t column) {
  return row[column / 2] >> (column % 2 * 4) & 15;
}

void check_group_mxfp4(int64_t rows, int64_t blocks, std::mt19937& random, Checks& checks) {
  const auto bytes = [&](int64_t count) {
    std::vector<uint8_t> all(static_cast<size_t>(count));
    for (uint8_t& byte : all) byte = static_cast<uint8_t>(random());
    return all;
  };
  const std::vector<uint8_t> values = bytes(rows * blocks * block / 2), scales = bytes(rows * blocks);
  std::vector<uint8_t> to = bytes(blocks * group_rows * block / 2), to_scales = bytes(blocks * group_rows);
  packed_kernels().group_mxfp4(values.data(), scales.data(), blocks, rows, to.data(), to_scales.data());
  int wrong = 0;
  for (int64_t r = 0; r < group_rows; ++r) {
    for (int64_t b = 0; b < blocks; ++b) {
      wrong += to_scales[b * group_rows + r] != (r < rows ? scales[r * blocks + b] : 0);
      for (int64_t column = 0; column < block; ++column) {
        const int64_t vector = b * 4 + column / 8, inner = column % 8;
        const int found = to[(vector * group_rows + r) * 4 + inner % 4] >> (inner / 4 * 4) & 15;
        wrong += found != (r < rows ? code_at(values.data() + r * blocks * block / 2, b * block + column) : 0);
      }
    }
  }
  checks.at_most(wrong, 0, at_size("group_mxfp4", rows, blocks));
}

void check_rows_times_vector(Element e, int64_t width, std::mt19937& random, Checks& checks) {
  constexpr int64_t rows = 9;
  const Values matrix = random_values(e, rows * width, random), x = random_values(element_float32, width, random);
  Values out(element_float32, rows);
  Doubles expected(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows * width; ++i) expected[i / width] += matrix[i] * x[i % width];
  packed_kernels().rows_times_vector[e](matrix.data(), width, rows, x.floats(), out.floats());
  checks.near(out, expected, at_size("rows_times_vector", rows, width), 1e-5);
}

}  // namespace

void check_packed_kernels(Checks& checks) {
  std::mt19937 random(1);
  for (const int64_t blocks : {1, 2, 5}) check_products(blocks, random, checks);
  for (int64_t blocks = 1; blocks <= 9; ++blocks) {
    for (const int64_t rows : {1, 7, 15, 16}) check_group_mxfp4(rows, blocks, random, checks);
  }
  for (const Element e : all_elements) {
    for (const int64_t width : {1, 7, 64, 67}) check_rows_times_vector(e, width, random, checks);
  }
}

}  // namespace xinslm::test
