#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "xinslm/quant/formats.h"

namespace xinslm {

/// A bfloat16 matrix [rows, in] in three quarters of its memory, without loss, for products that are bound by reading
/// it. The upper byte of a bfloat16, sign and seven bits of the exponent, takes few values in a network's weights (see
/// Zhang et al. 2025, arXiv 2504.11651, who code the exponent by its frequency): fifteen of them and zero have codes of
/// four bits here, and numbers with another upper byte are listed apart and zero in their place.
///
/// A row is cut into blocks of 64 columns, filled up with zeros, of 96 bytes: 64 lower bytes, then 32 bytes of two
/// codes. Lower byte 16 q + 8 h + 2 j + p belongs to column 32 h + 16 p + 4 q + j of the block, with h and p below 2,
/// q and j below 4: a vector's lower bytes interleaved with its upper ones are then bfloat16 numbers, and the even and
/// the odd of them are neighbouring columns. Byte b of the codes has that of place b in its low half and that of place
/// 32 + b in its high half.
class CompactBfloat16 {
 public:
  static constexpr int64_t block = CompactFormat::block, block_bytes = CompactFormat::block_bytes;
  using Table = std::array<uint8_t, 16>;

  /// A number that has no code.
  struct Rare {
    int32_t row, column;
    float value;
    /// As bfloat16.
    uint16_t bits() const { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }
  };

  /// Takes over the values of a matrix [rows, in] of bfloat16 on the processor, on all threads.
  /// @return false, and nothing is changed, when more than 1 in 200 numbers would be rare, or rows are so narrow that
  ///   filling them up takes half of what is gained
  bool fill(const at::Tensor& matrix);

  bool empty() const { return !values_.defined(); }
  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t blocks() const { return (width_ + block - 1) / block; }
  int64_t bytes() const;

  /// [rows, blocks, 96] uint8
  const at::Tensor& values() const { return values_; }
  const uint8_t* row(int64_t row) const {
    return static_cast<const uint8_t*>(values_.const_data_ptr()) + row * blocks() * block_bytes;
  }
  /// The upper byte of each code.
  const Table& table() const { return table_; }
  /// Those of rows [begin, end), in order.
  std::span<const Rare> rare(int64_t begin, int64_t end) const;

  /// The matrix again, bit for bit. Slow: the fast way is cpu::restore() in src/ops.
  at::Tensor restore() const;

  /// Rows as an embedding looks them up: [..., in] bfloat16. @param ids  [...] int64 in [0, rows), not checked
  at::Tensor select_rows(const at::Tensor& ids) const;

  /// One row. @param to  [in] bits of bfloat16
  void restore_row(int64_t row, uint16_t* to) const;

 private:
  int64_t rows_ = 0, width_ = 0;
  at::Tensor values_;
  Table table_{};
  std::vector<Rare> rare_;
  std::vector<int64_t> first_rare_;  // [rows + 1]
};

}  // namespace xinslm
