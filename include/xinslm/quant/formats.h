#pragma once
#include <cstdint>

// The numbers that packed weights are laid out by; packed_tensor.h and compact_bfloat16.h say how. Kernels include
// this, which is why it holds constants only.
namespace xinslm {

/// Neighbours along the input dimension that share a scale, in MXFP4 and in 8-bit blocks.
inline constexpr int64_t quant_block = 32;

/// Layout rows16: a vector has a lane of four bytes for each of 16 rows.
struct Rows16 {
  static constexpr int64_t rows = 16, lane_bytes = 4, vector_bytes = rows * lane_bytes;
};

/// OCP Microscaling Formats (MX) v1.0: 32 codes of four bits and a byte for their scale.
struct Mxfp4Format {
  static constexpr int64_t value_bytes = quant_block / 2, scale_bytes = 1;  ///< of a block of one row
  static constexpr int64_t block_bytes = value_bytes + scale_bytes;
  static constexpr int64_t lane_columns = 8;                      ///< codes in a lane of rows16
  static constexpr int64_t vectors = quant_block / lane_columns;  ///< of a block of 16 rows
};

/// As Q8_0 of llama.cpp: 32 integers of eight bits and a float16 for their scale.
struct Q8Format {
  static constexpr int64_t value_bytes = quant_block, scale_bytes = 2;
  static constexpr int64_t block_bytes = value_bytes + scale_bytes;
  static constexpr int64_t lane_columns = 4;
  static constexpr int64_t vectors = quant_block / lane_columns;
};

/// Compact bfloat16: blocks of 64 columns of one row, their lower bytes before their codes of four bits.
struct CompactFormat {
  static constexpr int64_t block = 64, code_bytes = block / 2, block_bytes = block + code_bytes;
};

}  // namespace xinslm
