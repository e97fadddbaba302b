#pragma once
// Packed weights times bfloat16 activations in tiles of 16 x 16 sums; Tiles is the processor's unit, or in the tests a
// model of it, which lets this run where there is none.
#include "ops/cpu/isa/packed_dot.h"
#include "xinslm/quant/formats.h"

namespace xinslm::XINSLM_ISA {

constexpr int64_t tile_side = Rows16::rows;  // rows of activations, rows of weights
constexpr int64_t block = quant_block;       // columns of a block, one step of a tile product
constexpr int64_t panel_blocks = 16;         // decoded together: 16 KiB, which the first cache holds
constexpr int64_t tile_size = tile_side * tile_side;
constexpr int64_t panel_step = block * tile_side;

/// [2 tiles of rows][even and odd steps][16][16]: four sums in flight, since a tile product takes four times as long as
/// the next one must wait.
using TileSums = float[2][2][tile_size];

/// The bits of two vectors of bfloat16, rounded from float, next to each other in each lane.
XINSLM_INLINE IntVec bfloat16_pairs(Vec first, Vec second) {
  const WordVec low = __builtin_convertvector(round_to_bfloat16(first), WordVec);
  const WordVec high = __builtin_convertvector(round_to_bfloat16(second), WordVec);
  return bits_as<IntVec>(low | high << 16);
}

/// A block of 16 rows decoded to pairs of columns, as a tile wants them: [16 pairs][16 rows][2].
struct Mxfp4Panel {
  using Scale = uint8_t;
  static constexpr int64_t block_bytes = Mxfp4Format::vectors * Rows16::vector_bytes;

  static XINSLM_INLINE void decode(const uint8_t* values, const uint8_t* scales, uint16_t* panel) {
    const __m512 table = _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
    const Vec scale = bits_as<Vec>(widened(scales) << 23);
    // Of vector v columns 8v to 8v + 3 are in the low nibbles, the next four in the high ones.
    for (int v = 0; v < Mxfp4Format::vectors; ++v) {
      const IntVec pairs = bits_as<IntVec>(load_bytes(values + v * Rows16::vector_bytes));
      XINSLM_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        const int shift = pair < 2 ? 16 * pair : 16 * (pair - 2) + 4;
        const auto value = [&](int bits) __attribute__((always_inline)) {
          const __m512i codes = bits_as<__m512i>(bits_as<WordVec>(pairs) >> bits);  // higher bits are not looked at
          return bits_as<Vec>(_mm512_maskz_permutexvar_ps(0xffff, codes, table)) * scale;
        };
        const IntVec both = bfloat16_pairs(value(shift), value(shift + 8));
        __builtin_memcpy(panel + (4 * v + pair) * 2 * tile_side, &both, sizeof both);
      }
    }
  }
};

struct Q8Panel {
  using Scale = uint16_t;
  static constexpr int64_t block_bytes = Q8Format::vectors * Rows16::vector_bytes;

  static XINSLM_INLINE void decode(const uint8_t* values, const uint16_t* scales, uint16_t* panel) {
    const Vec scale = load_float16(scales);
    for (int v = 0; v < Q8Format::vectors; ++v) {
      const WordVec four = bits_as<WordVec>(load_bytes(values + v * Rows16::vector_bytes));
      XINSLM_UNROLL
      for (int pair = 0; pair < 2; ++pair) {
        const auto value = [&](int bits) __attribute__((always_inline)) {
          return __builtin_convertvector(bits_as<IntVec>(four >> bits & 255) - 128, Vec) * scale;
        };
        const IntVec both = bfloat16_pairs(value(16 * pair), value(16 * pair + 8));
        __builtin_memcpy(panel + (2 * v + pair) * 2 * tile_side, &both, sizeof both);
      }
    }
  }
};

/// Up to 32 rows of one panel's products, stored or added to out.
XINSLM_INLINE void take_over(const TileSums& sums, int64_t rows, bool add, float* out, int64_t out_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const auto& halves = sums[row / tile_side];
    const int64_t place = row % tile_side * tile_side;
    Vec sum = load(halves[0] + place) + load(halves[1] + place);
    if (add) sum += load(out + row * out_stride);
    store(out + row * out_stride, sum);
  }
}

template <class Tiles, class Panel>
void multiply_in_tiles(const uint8_t* values, const typename Panel::Scale* scales, int64_t blocks, const uint16_t* x,
                       int64_t rows, float* out, int64_t out_stride) {
  alignas(64) uint16_t panel[panel_blocks * panel_step];
  alignas(64) TileSums sums;
  const Tiles tiles;
  for (int64_t first = 0; first < blocks; first += panel_blocks) {
    const int64_t steps = smaller(panel_blocks, blocks - first);
    for (int64_t b = 0; b < steps; ++b) {
      Panel::decode(values + (first + b) * Panel::block_bytes, scales + (first + b) * tile_side,
                    panel + b * panel_step);
    }
    for (int64_t row = 0; row < rows; row += 2 * tile_side) {
      const int64_t height = smaller(2 * tile_side, rows - row);
      tiles.multiply(x + row * blocks * block + first * block, blocks * block, height > tile_side, panel, steps, sums);
      take_over(sums, height, first > 0, out + row * out_stride, out_stride);
    }
  }
}

inline void round_all(const float* x, int64_t size, uint16_t* rounded) {
  for (int64_t i = 0; i < size; i += lanes) store(rounded + i, load(x + i));
}

}  // namespace xinslm::XINSLM_ISA
