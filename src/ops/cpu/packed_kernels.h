#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Blocks of activations that share a scale: a stretch; the last one of a row may be shorter.
inline constexpr int64_t stretch_blocks = 4;

/// Where the sum of a block's products starts, for each kind of weights: what the weights' offset adds is taken off
/// beforehand. Zeros where the instruction set needs no offset.
struct DotStart {
  int32_t fp4, q8;
};

/// Of one row's stretch.
struct StretchScale {
  float scale;
  int32_t start;  // of the sum of its products with MXFP4 weights that were brought to one exponent
};

/// Activations in 8 bits, value = code * scale. Rows are cut into tiles (RowTile), each of which is dense and lies
/// block after block, so that products read it from beginning to end.
struct QuantizedRows {
  const int8_t* codes;         // of a tile [blocks, height, 32], from -127 to 127
  const StretchScale* scales;  // of a tile [stretches, height]
  const DotStart* starts;      // of a tile [blocks, height]
};

/// One row of a tile, from a stretch's first block on.
struct QuantizedRow {
  int8_t* codes;
  StretchScale* scales;
  DotStart* starts;
  int64_t height;  // of the tile: from one block or stretch to the next
};

/// Neighbouring rows that are multiplied together.
struct RowTile {
  int64_t first, height;
};
/// Tiles that rows are cut into when one has `most` at most.
static inline int64_t count_tiles(int64_t rows, int64_t most) {
  return (rows + most - 1) / most;
}
/// Tile `number` of `count`, all of nearly equal height, so that none is left with a row or two that cannot hide the
/// decoding of weights.
static inline RowTile row_tile(int64_t rows, int64_t count, int64_t number) {
  const int64_t first = rows * number / count;
  return {first, rows * (number + 1) / count - first};
}

/// Products of 8-bit activations with packed weights of layout rows16 (quant/packed_tensor.h): 16 rows of a weight
/// matrix and `blocks` blocks of 32 columns. Whole numbers are summed exactly within a block; blocks and stretches in
/// float32, in the order of the columns; so the result does not depend on the number of rows computed together.
struct PackedKernels {
  /// Rows of the highest tile that products take.
  int64_t tile_rows;

  /// Largest error of a value is half its stretch's scale = amax / 254. x [blocks * 32] finite.
  void (*quantize)(const float* x, int64_t blocks, const QuantizedRow& to);

  /// The same with one scale for all: x, codes [blocks * 32]. Indexed by the Element of x.
  /// @return the scale; no number where one of x is none
  float (*quantize_row[2])(const void* x, int64_t blocks, int8_t* codes);
  /// And back: x = codes * scale.
  void (*dequantize_row[2])(const int8_t* codes, float scale, int64_t blocks, void* x);

  /// Reads a row of a block beyond the last one, whatever it holds.
  /// out [rows, 16] (rows out_stride apart) = x * weights^T.
  /// @param values  [blocks, 4, 16, 4] bytes of two codes each
  /// @param scales  [blocks, 16] E8M0 exponents; 0 counts as zero
  void (*mxfp4)(const uint8_t* values, const uint8_t* scales, int64_t blocks, const QuantizedRows& x, int64_t rows,
                float* out, int64_t out_stride);

  /// The same for one row, with scales in halves of bytes (quant/laid_out_experts.h).
  /// @param halves  [(blocks + 1) / 2, 16], of blocks 2 i and 2 i + 1; each half stands for an exponent of `least` more
  void (*mxfp4_with_half_scales)(const uint8_t* values, const uint8_t* halves, uint8_t least, int64_t blocks,
                                 const QuantizedRows& x, float* out);

  /// Up to 16 rows of MXFP4 weights as checkpoints store them become a group of layout rows16; rows that are not there
  /// become zeros of scale 0.
  /// @param values     [rows, blocks, 16], aligned as they come
  /// @param scales     [rows, blocks]
  /// @param to         [blocks, 4, 16, 4]
  /// @param to_scales  [blocks, 16]
  void (*group_mxfp4)(const uint8_t* values, const uint8_t* scales, int64_t blocks, int64_t rows, uint8_t* to,
                      uint8_t* to_scales);

  /// Scales of a group in halves of bytes become whole: to [(blocks + 1) / 2 * 2, 16].
  /// @param halves  [(blocks + 1) / 2, 16]
  void (*widen_scales)(const uint8_t* halves, int64_t blocks, uint8_t least, uint8_t* to);

  /// @param values  [blocks, 8, 16, 4] bytes, each 128 more than the weight's code
  /// @param scales  [blocks, 16] bits of float16
  void (*q8)(const uint8_t* values, const uint16_t* scales, int64_t blocks, const QuantizedRows& x, int64_t rows,
             float* out, int64_t out_stride);

  /// out [rows] = matrix [rows, width] * x, the matrix float32 or bfloat16 with dense rows, sums in float32.
  void (*rows_times_vector[2])(const void* matrix, int64_t width, int64_t rows, const float* x, float* out);
};
XINSLM_DECLARE_KERNELS(PackedKernels, packed_kernels)

}  // namespace xinslm
