#pragma once
// The layout that quant/rows16.h gives whole tensors, for a group at a time: for weights still in a file's map.
#include "ops/cpu/isa/packed_weights.h"

namespace xinslm::XINSLM_ISA {

/// Eight codes in the order of columns to columns 0 to 3 in the low halves of the bytes and 4 to 7 in the high ones.
XINSLM_INLINE WordVec split_columns(WordVec word) {
  const auto spread = [](WordVec codes) __attribute__((always_inline)) {
    codes = (codes | codes << 8) & 0x00ff00ff;
    return (codes | codes << 4) & 0x0f0f0f0f;
  };
  return spread(word & 0xffff) | spread(word >> 16) << 4;
}

/// `count` words of one row, the rest zero.
XINSLM_INLINE WordVec load_words(const uint8_t* from, int64_t count) {
  WordVec words = {};
  if (count == lanes) {
    __builtin_memcpy(&words, from, sizeof words);
  } else {
    uint32_t part[lanes] = {};
    __builtin_memcpy(part, from, count * 4);
    __builtin_memcpy(&words, part, sizeof words);
  }
  return words;
}

/// Scales [rows, blocks] to [blocks, 16], by squares of 4 by 4 bytes.
inline void group_scales(const uint8_t* scales, int64_t blocks, int64_t rows, uint8_t* to) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  int64_t b = 0;
  for (; b + 4 <= blocks; b += 4) {
    Words quads[4];  // of four rows each: column after column
    for (int q = 0; q < 4; ++q) {
      Words words = {};
      for (int i = 0; i < 4; ++i) {
        const int r = 4 * q + i;
        uint32_t word = 0;
        if (r < rows) __builtin_memcpy(&word, scales + r * blocks + b, sizeof word);
        words[i] = word;
      }
      const Bytes rowwise = bits_as<Bytes>(words);
      quads[q] = bits_as<Words>(
          __builtin_shufflevector(rowwise, rowwise, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    }
    for (int column = 0; column < 4; ++column) {
      const Words all = {quads[0][column], quads[1][column], quads[2][column], quads[3][column]};
      __builtin_memcpy(to + (b + column) * group_rows, &all, sizeof all);
    }
  }
  for (; b < blocks; ++b) {
    for (int64_t r = 0; r < group_rows; ++r) to[b * group_rows + r] = r < rows ? scales[r * blocks + b] : uint8_t{0};
  }
}

inline void group_mxfp4(const uint8_t* values, const uint8_t* scales, int64_t blocks, int64_t rows, uint8_t* to,
                 uint8_t* to_scales) {
  constexpr int64_t words_of_block = Mxfp4Format::vectors, word_bytes = Rows16::lane_bytes;
  const int64_t words = blocks * words_of_block;
  for (int64_t word = 0; word < words; word += lanes) {
    const int64_t count = smaller<int64_t>(lanes, words - word);
    for (int64_t first = 0; first < group_rows; first += lanes) {
      WordVec square[lanes];
      XINSLM_UNROLL_16
      for (int r = 0; r < lanes; ++r) {
        const uint8_t* from = values + ((first + r) * words + word) * word_bytes;
        __builtin_prefetch(from + group_rows * words * word_bytes);  // 16 rows are too many streams to be foreseen
        square[r] = first + r < rows ? split_columns(load_words(from, count)) : WordVec{};
      }
      transpose(square);
      uint8_t* target = to + (word * group_rows + first) * word_bytes;
      XINSLM_UNROLL_16
      for (int i = 0; i < lanes; ++i) {
        if (i < count) __builtin_memcpy(target + i * vector_bytes, &square[i], sizeof square[i]);
      }
    }
  }
  group_scales(scales, blocks, rows, to_scales);
}

inline void widen_scales(const uint8_t* halves, int64_t blocks, uint8_t least, uint8_t* to) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  for (int64_t b = 0; b < blocks; b += 2, halves += group_rows, to += 2 * group_rows) {
    Bytes both;
    __builtin_memcpy(&both, halves, sizeof both);
    const Bytes even = (both & 15) + least, odd = (bits_as<Bytes>(bits_as<Words>(both) >> 4) & 15) + least;
    __builtin_memcpy(to, &even, sizeof even);
    __builtin_memcpy(to + group_rows, &odd, sizeof odd);
  }
}

}  // namespace xinslm::XINSLM_ISA
