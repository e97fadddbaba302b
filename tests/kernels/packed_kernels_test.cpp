#include "ops/cpu/packed_kernels.h"

#include <cstring>

#include "kernels/kernel_values.h"
#include "kernels/packed_blocks.h"

namespace xinslm::test {
namespace {

constexpr int64_t stretch = stretch_blocks * block;

/// Rows in 8 bits as kernels take them, and in the order of rows what they are worth.
struct Quantized {
  std::vector<int8_t> codes;
  std::vector<StretchScale> scales;
  std::vector<DotStart> starts;
  Doubles worth, rounding;  // [rows, width]: of the latter the error in parts of the scale
  QuantizedRows rows() const { return {codes.data(), scales.data(), starts.data()}; }
};

/// With the row of a block beyond the last that products read.
Quantized quantized(const std::vector<float>& x, int64_t rows, int64_t blocks) {
  const int64_t stretches = (blocks + stretch_blocks - 1) / stretch_blocks, width = blocks * block;
  Quantized q;
  q.codes.resize(static_cast<size_t>(rows * width + block));
  q.scales.resize(static_cast<size_t>(rows * stretches + 1));
  q.starts.resize(static_cast<size_t>(rows * blocks + 1));
  const int64_t tiles = count_tiles(rows, packed_kernels().tile_rows);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const auto [first, height] = row_tile(rows, tiles, tile);
    for (int64_t i = 0; i < height; ++i) {
      const float* row = x.data() + (first + i) * width;
      const QuantizedRow to = {q.codes.data() + first * width + i * block, q.scales.data() + first * stretches + i,
                               q.starts.data() + first * blocks + i, height};
      packed_kernels().quantize(row, blocks, to);
      for (int64_t column = 0; column < width; ++column) {
        const double scale = to.scales[column / stretch * height].scale;
        q.worth.push_back(to.codes[column / block * height * block + column % block] * scale);
        q.rounding.push_back(std::abs(row[column] - q.worth.back()) / scale);
      }
    }
  }
  return q;
}

void check_products(int64_t blocks, std::mt19937& random, Checks& checks) {
  const auto four = random_mxfp4(blocks, random);
  const auto eight = random_q8(blocks, random);
  for (int64_t rows = 1; rows <= 67; ++rows) {
    const Quantized q = quantized(random_floats(rows * blocks * block, random), rows, blocks);
    checks.at_most(*std::max_element(q.rounding.begin(), q.rounding.end()), 0.5001, at_size("quantize", rows, blocks));
    std::vector<float> out(static_cast<size_t>(rows * group_rows));
    packed_kernels().mxfp4(four.values.data(), four.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
    checks.at_most(distance(out, q.worth, rows, four.weights), 2e-6, at_size("mxfp4", rows, blocks));
    packed_kernels().q8(eight.values.data(), eight.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
    checks.at_most(distance(out, q.worth, rows, eight.weights), 2e-6, at_size("q8", rows, blocks));
  }
}

/// Scales in halves of bytes, made whole and as they are: the same sums to the bit.
void check_half_scales(int64_t blocks, std::mt19937& random, Checks& checks) {
  constexpr uint8_t least = 120;
  const auto four = random_mxfp4(blocks, random);
  const Quantized q = quantized(random_floats(blocks * block, random), 1, blocks);
  std::vector<uint8_t> halves(static_cast<size_t>((blocks + 1) / 2 * group_rows)), whole(2 * halves.size());
  for (uint8_t& pair : halves) pair = static_cast<uint8_t>(random());
  packed_kernels().widen_scales(halves.data(), blocks, least, whole.data());
  int wrong = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t r = 0; r < group_rows; ++r) {
      wrong += whole[b * group_rows + r] != least + (halves[b / 2 * group_rows + r] >> (b % 2 * 4) & 15);
    }
  }
  checks.at_most(wrong, 0, at_size("widen_scales", group_rows, blocks));
  float from_whole[group_rows], from_halves[group_rows];
  packed_kernels().mxfp4(four.values.data(), whole.data(), blocks, q.rows(), 1, from_whole, group_rows);
  packed_kernels().mxfp4_with_half_scales(four.values.data(), halves.data(), least, blocks, q.rows(), from_halves);
  checks.at_most(std::memcmp(from_whole, from_halves, sizeof from_whole) == 0 ? 0 : 1, 0,
                 at_size("mxfp4_with_half_scales", 1, blocks));
}

void check_quantize_row(Element e, int64_t blocks, std::mt19937& random, Checks& checks) {
  const Values x = random_values(e, blocks * block, random);
  std::vector<int8_t> codes(static_cast<size_t>(blocks * block));
  const float scale = packed_kernels().quantize_row[e](x.data(), blocks, codes.data());
  Doubles restored(codes.size());
  double worst = 0;
  for (size_t i = 0; i < codes.size(); ++i) {
    restored[i] = static_cast<double>(codes[i]) * scale;
    worst = std::max(worst, std::abs(x[i] - restored[i]) / scale);
  }
  checks.at_most(worst, 0.5001, at_size("quantize_row", 1, blocks));
  Values back(e, blocks * block);
  packed_kernels().dequantize_row[e](codes.data(), scale, blocks, back.data());
  checks.near(back, restored, at_size("dequantize_row", 1, blocks), 1e-6);
  Values with_nan(e, x.numbers());
  with_nan.set(blocks * block - 3, std::nan(""));
  const float none = packed_kernels().quantize_row[e](with_nan.data(), blocks, codes.data());
  checks.at_most(std::isnan(none) ? 0 : 1, 0, at_size("quantize_row of what is no number", 1, blocks));
}

/// Any magnitude keeps its steps, but numbers whose inverse could be infinite become zeros.
void check_magnitudes(Element e, std::mt19937& random, Checks& checks) {
  const Values numbers = random_values(e, 2 * block, random);
  for (const int decade : {-44, -38, -36, -33, -28, -12, 0, 12, 37}) {
    Values x(e, 2 * block);
    for (int64_t i = 0; i < x.size(); ++i) x.set(i, numbers[i] * std::pow(10, decade));
    std::vector<int8_t> codes(2 * block);
    const float scale = packed_kernels().quantize_row[e](x.data(), 2, codes.data());
    double worst = 0, largest = 0;
    int coded = 0;
    for (int64_t i = 0; i < x.size(); ++i) {
      worst = std::max(worst, std::abs(x[i] - static_cast<double>(codes[i]) * scale));
      largest = std::max(largest, std::abs(x[i]));
      coded += codes[i] != 0;
    }
    const std::string what = at_size("quantize_row", 1, 2) + " of magnitude 1e" + std::to_string(decade);
    if (decade < -30) {
      checks.at_most(coded, 0, what);
    } else {
      checks.at_most(worst, largest / 253, what);
    }
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
  for (const int64_t blocks : {1, 2, 5, 9}) check_products(blocks, random, checks);
  for (const int64_t blocks : {1, 2, 3, 4, 5, 9}) check_half_scales(blocks, random, checks);
  for (int64_t blocks = 1; blocks <= 9; ++blocks) {
    for (const int64_t rows : {1, 7, 15, 16}) check_group_mxfp4(rows, blocks, random, checks);
  }
  for (const Element e : all_elements) {
    for (const int64_t blocks : {1, 3}) check_quantize_row(e, blocks, random, checks);
    check_magnitudes(e, random, checks);
    for (const int64_t width : {1, 7, 64, 67}) check_rows_times_vector(e, width, random, checks);
  }
}

}  // namespace xinslm::test
