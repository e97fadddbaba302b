// Products in matrix tiles, with a model of the processor's tile unit: all but its instructions runs as it does on AMX.
#include "ops/cpu/amx/tile_product.h"

#include "kernels/kernel_values.h"
#include "kernels/packed_blocks.h"

using namespace xinslm::test;
using namespace xinslm::XINSLM_ISA;

namespace {

float as_float(uint16_t bits) {
  return bits_as<float>(static_cast<uint32_t>(bits) << 16);
}

/// TDPBF16PS as Intel's manual has it: sums of pairs along k.
struct ModelOfTiles {
  void multiply(const uint16_t* x, int64_t width, bool second, const uint16_t* panel, int64_t steps,
                TileSums& sums) const {
    std::fill_n(&sums[0][0][0], 4 * tile_size, 0.0f);
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t row = 0; row < (second ? 2 : 1) * tile_side; ++row) {
        for (int64_t column = 0; column < tile_side; ++column) {
          float& sum = sums[row / tile_side][step % 2][row % tile_side * tile_side + column];
          for (int64_t k = 0; k < xinslm::XINSLM_ISA::block; ++k) {
            sum += as_float(x[row * width + step * xinslm::XINSLM_ISA::block + k]) *
                   as_float(panel[step * panel_step + (k / 2 * tile_side + column) * 2 + k % 2]);
          }
        }
      }
    }
  }
};

}  // namespace

int main() {
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni") ||
      !__builtin_cpu_supports("avx512vbmi")) {
    std::puts("skipped: decoding for the tiles needs AVX512-BF16, VNNI and VBMI");
    return 77;
  }
  Checks checks("amx, modelled");
  std::mt19937 random(1);
  for (const int64_t blocks : {1, 2, 16, 17, 35}) {
    const auto four = random_mxfp4(blocks, random);
    const auto eight = random_q8(blocks, random);
    for (const int64_t rows : {1, 9, 15, 16, 17, 31, 32, 33, 48, 49, 67}) {
      const int64_t size = rows * blocks * xinslm::test::block, padded = size + 15 * blocks * xinslm::test::block;
      const std::vector<float> x = random_floats(size, random);
      std::vector<uint16_t> rounded(static_cast<size_t>(padded), 0x7fc0);  // not a number beyond the last row
      round_all(x.data(), size, rounded.data());
      std::vector<double> worth;
      for (int64_t i = 0; i < size; ++i) worth.push_back(as_float(rounded[static_cast<size_t>(i)]));
      std::vector<float> out(static_cast<size_t>(rows * group_rows));
      multiply_in_tiles<ModelOfTiles, Mxfp4Panel>(four.values.data(), four.scales.data(), blocks, rounded.data(), rows,
                                                  out.data(), group_rows);
      checks.at_most(distance(out, worth, rows, four.weights), 2e-6, at_size("mxfp4", rows, blocks));
      multiply_in_tiles<ModelOfTiles, Q8Panel>(eight.values.data(), eight.scales.data(), blocks, rounded.data(), rows,
                                               out.data(), group_rows);
      checks.at_most(distance(out, worth, rows, eight.weights), 4e-3, at_size("q8", rows, blocks));
    }
  }
  return checks.failures();
}
