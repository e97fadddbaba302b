#include "ops/cpu/compact_kernels.h"

#include "kernels/kernel_values.h"

namespace xinslm::test {
namespace {

constexpr int64_t block = 64, block_bytes = 96;

uint32_t float_bits(uint16_t bfloat16) {
  return static_cast<uint32_t>(bfloat16) << 16;
}

/// The number of a column of a block, as quant/compact_bfloat16.h says.
uint16_t number_at(const uint8_t* values, const uint8_t* table, int64_t column) {
  const int64_t h = column / 32, p = column / 16 % 2, q = column / 4 % 4, j = column % 4;
  const int64_t place = 16 * q + 8 * h + 2 * j + p;
  const int code = values[block + place % 32] >> (place < 32 ? 0 : 4) & 15;
  return static_cast<uint16_t>(table[code] << 8 | values[place]);
}

void check(int64_t rows, int64_t blocks, std::mt19937& random, Checks& checks) {
  const uint8_t table[16] = {0,    0x3f, 0xbf, 0x3e, 0xbe, 0x3d, 0xbd, 0x3c,
                             0xbc, 0x3b, 0xbb, 0x3a, 0xba, 0x39, 0xb9, 0x40};
  std::vector<uint8_t> values(static_cast<size_t>(rows * blocks * block_bytes));
  for (uint8_t& byte : values) byte = static_cast<uint8_t>(random());
  const Values x = random_values(element_float32, blocks * block, random);
  Values out(element_float32, rows), restored(element_bfloat16, rows * blocks * block);
  Doubles sums(static_cast<size_t>(rows)), numbers;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < blocks * block; ++column) {
      const int64_t place = row * blocks + column / block;
      const uint32_t bits = float_bits(number_at(values.data() + place * block_bytes, table, column % block));
      float number;
      std::memcpy(&number, &bits, sizeof number);
      numbers.push_back(number);
      sums[row] += number * x[column];
    }
    compact_kernels().restore(values.data() + row * blocks * block_bytes, table, blocks,
                              static_cast<uint16_t*>(restored.data()) + row * blocks * block);
  }
  compact_kernels().times_vector(values.data(), table, blocks, rows, x.floats(), out.floats());
  checks.near(out, sums, at_size("times_vector", rows, blocks), 1e-5);
  int wrong = 0;
  for (int64_t i = 0; i < restored.size(); ++i) wrong += restored[i] != numbers[static_cast<size_t>(i)];
  checks.at_most(wrong, 0, at_size("restore", rows, blocks));
  checks.at_most(restored.guards_intact() ? 0 : 1, 0, at_size("restore", rows, blocks) + " writes beyond its output");
}

}  // namespace

void check_compact_kernels(Checks& checks) {
  std::mt19937 random(2);
  for (const int64_t rows : {1, 3}) {
    for (const int64_t blocks : {1, 2, 7, 33}) check(rows, blocks, random, checks);
  }
  check(101, 5, random, checks);  // many
}

}  // namespace xinslm::test
