#include "ops/cpu/isa/packed_dot.h"
#include "ops/cpu/packed_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

constexpr int block = 32;       // columns of a block
constexpr int group_rows = 16;  // weight rows of a group
constexpr int row_bytes = 4;    // neighbouring columns of one row in a vector of 64 bytes
constexpr int vector_bytes = group_rows * row_bytes;

/// Activation rows that one pass over the weights serves: their sums and the decoded block fill the registers.
#ifdef __aarch64__
constexpr int tile_rows = 8;
#else
constexpr int tile_rows = lanes == 16 ? 16 : 4;
#endif

void quantize(const float* x, int64_t blocks, int8_t* codes, float* scales, DotStart* starts) {
  for (int64_t b = 0; b < blocks; ++b, x += block, codes += block) {
    Vec largest = {};
    XINSLM_UNROLL
    for (int i = 0; i < block; i += lanes) {
      const Vec v = load(x + i);
      largest = larger_of(largest, larger_of(v, -v));
    }
    const float amax = maximum(largest);
    scales[b] = amax / 127.0f;
    const float inverse = amax > 0 ? 127.0f / amax : 0.0f;
    IntVec total = {};
    XINSLM_UNROLL
    for (int i = 0; i < block; i += lanes) {
      // Adding 1.5 * 2^23 leaves the number rounded to nearest, ties to even, in the low bits.
      const IntVec code = bits_as<IntVec>(load(x + i) * inverse + 12582912.0f) - 0x4b400000;
      total += code;
      store_bytes(codes + i, code);
    }
    const auto whole = static_cast<int32_t>(sum(__builtin_convertvector(total, Vec)));  // small enough to be exact
    starts[b] = {-dot_offset_fp4 * whole, -dot_offset_q8 * whole};
  }
}

/// Weights of `lanes` rows of a group, from row `first`: a block decoded to bytes ready for dot().
struct Mxfp4Weights {
  using Scale = uint8_t;
  static constexpr int block_bytes = 4 * vector_bytes;

  static XINSLM_INLINE int32_t start(const DotStart& of) { return of.fp4; }
  static XINSLM_INLINE IntVec dot(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
    return dot_fp4(start, weights, x);
  }

  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < 4; ++v) {
      const ByteVec pairs = load_bytes(values + v * vector_bytes + first * row_bytes);
      weights[2 * v] = fp4_of_low_nibbles(pairs);
      weights[2 * v + 1] = fp4_of_high_nibbles(pairs);
    }
  }
  /// Half of 2^(scale - 127), since the decoded values are doubled.
  static XINSLM_INLINE Vec scale(const uint8_t* scales) { return bits_as<Vec>(widened(scales) << 23) * 0.5f; }
};

struct Q8Weights {
  using Scale = uint16_t;
  static constexpr int block_bytes = 8 * vector_bytes;

  static XINSLM_INLINE int32_t start(const DotStart& of) { return of.q8; }
  static XINSLM_INLINE IntVec dot(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
    return dot_q8(start, weights, x);
  }

  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < 8; ++v) weights[v] = q8_bytes(load_bytes(values + v * vector_bytes + first * row_bytes));
  }
  static XINSLM_INLINE Vec scale(const uint16_t* scales) { return load_float16(scales); }
};

/// Weights that decode_ahead() has decoded: for each block [16 / lanes, 8, 4 * lanes] bytes.
template <class Weights>
struct Decoded : Weights {
  static constexpr int block_bytes = group_rows * block;

  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < 8; ++v) weights[v] = load_bytes(values + first * block + v * 4 * lanes);
  }
};

template <class Weights>
void decode_ahead(const uint8_t* values, int64_t blocks, uint8_t* to) {
  for (int64_t b = 0; b < blocks; ++b, values += Weights::block_bytes) {
    for (int first = 0; first < group_rows; first += lanes) {
      ByteVec weights[8];
      Weights::decode(values, first, weights);
      __builtin_memcpy(to, weights, sizeof weights);
      to += sizeof weights;
    }
  }
}

/// A stretch of the blocks of a row.
struct Blocks {
  int64_t first, count;
  int64_t all;  // of the row
};

/// `rows` rows from `row` on, the first `height` of which are wanted. `values` and `scales` begin at the stretch, whose
/// sums are added to `out` unless the stretch is the row's first.
template <class Weights, int rows>
void multiply_rows(const uint8_t* values, const typename Weights::Scale* scales, const Blocks& blocks,
                   const QuantizedRows& x, int64_t row, int64_t height, float* out, int64_t out_stride) {
  for (int first = 0; first < group_rows; first += lanes) {
    Vec result[rows];
    XINSLM_UNROLL_16
    for (int r = 0; r < rows; ++r) {
      result[r] = blocks.first > 0 && r < height ? load(out + (row + r) * out_stride + first) : Vec{};
    }
    for (int64_t b = 0; b < blocks.count; ++b) {
      ByteVec weights[8];
      Weights::decode(values + b * Weights::block_bytes, first, weights);
      const Vec scale = Weights::scale(scales + b * group_rows + first);
      const auto place = [&](int r) { return (row + r) * blocks.all + blocks.first + b; };
      const auto add = [&](int r, IntVec sum) __attribute__((always_inline)) {
        result[r] += __builtin_convertvector(sum, Vec) * (scale * x.scales[place(r)]);
      };
#ifdef __ARM_FEATURE_MATMUL_INT8
      if constexpr (rows > 1) {
        pair_up(weights);
        XINSLM_UNROLL_16
        for (int r = 0; r < rows; r += 2) {
          const int8_t* codes = x.codes + place(r) * block;
          IntVec sums[2];
          dot_pairs(weights, codes, codes + blocks.all * block, sums);
          add(r, sums[0]);
          add(r + 1, sums[1]);
        }
        continue;
      }
#endif
      XINSLM_UNROLL_16
      for (int r = 0; r < rows; ++r) {
        const IntVec start = all_int(Weights::start(x.starts[place(r)]));
        add(r, Weights::dot(start, weights, x.codes + place(r) * block));
      }
    }
    XINSLM_UNROLL_16
    for (int r = 0; r < rows; ++r) {
      if (r < height) store(out + (row + r) * out_stride + first, result[r]);
    }
  }
}

/// Tiles of nearly equal height, so that none is left with a row or two that cannot hide the decoding of weights.
template <class Weights>
void multiply_tiles(const uint8_t* values, const typename Weights::Scale* scales, const Blocks& blocks,
                    const QuantizedRows& x, int64_t rows, float* out, int64_t out_stride) {
  const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t row = rows * tile / tiles, height = rows * (tile + 1) / tiles - row;
    const auto run = [&](auto function) { function(values, scales, blocks, x, row, height, out, out_stride); };
    if (height == 1) {
      run(multiply_rows<Weights, 1>);
    } else if (height == 2) {
      run(multiply_rows<Weights, 2>);
    } else if (height <= 4) {
      run(multiply_rows<Weights, 4>);
    } else if constexpr (tile_rows > 4) {
      constexpr decltype(&multiply_rows<Weights, 8>) even[] = {
          multiply_rows<Weights, 6>,  multiply_rows<Weights, 8>,  multiply_rows<Weights, 10>,
          multiply_rows<Weights, 12>, multiply_rows<Weights, 14>, multiply_rows<Weights, 16>,
      };
      run(even[(height + 1) / 2 - 3]);
    }
  }
}

template <class Weights>
void multiply(const uint8_t* values, const typename Weights::Scale* scales, int64_t blocks, const QuantizedRows& x,
              int64_t rows, float* out, int64_t out_stride) {
  // Narrow tiles would decode the weights too often; so a stretch of them is decoded into the first cache.
  constexpr int64_t stretch = 16;
  if (tile_rows > 4 || rows <= 2 * tile_rows) {
    multiply_tiles<Weights>(values, scales, {0, blocks, blocks}, x, rows, out, out_stride);
    return;
  }
  uint8_t decoded[stretch * Decoded<Weights>::block_bytes];
  for (int64_t first = 0; first < blocks; first += stretch) {
    const int64_t count = smaller(stretch, blocks - first);
    decode_ahead<Weights>(values + first * Weights::block_bytes, count, decoded);
    multiply_tiles<Decoded<Weights>>(decoded, scales + first * group_rows, {first, count, blocks}, x, rows, out,
                                     out_stride);
  }
}

// The layout that quant/rows16.h gives whole tensors, for a group at a time: for weights that are still in a file's map.

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
void group_scales(const uint8_t* scales, int64_t blocks, int64_t rows, uint8_t* to) {
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

void group_mxfp4(const uint8_t* values, const uint8_t* scales, int64_t blocks, int64_t rows, uint8_t* to,
                 uint8_t* to_scales) {
  constexpr int64_t words_of_block = 4, word_bytes = sizeof(uint32_t);
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

/// Row after row, so that memory is read in one stream; several sums, so that additions do not wait for each other.
template <class T>
void rows_times_vector(const void* matrix, int64_t width, int64_t rows, const float* x, float* out) {
  constexpr int together = 4;
  const T* weights = static_cast<const T*>(matrix);
  for (int64_t row = 0; row < rows; ++row, weights += width) {
    Vec sums[together] = {};
    int64_t i = 0;
    for (; i + together * lanes <= width; i += together * lanes) {
      XINSLM_UNROLL
      for (int v = 0; v < together; ++v) sums[v] += load(weights + i + v * lanes) * load(x + i + v * lanes);
    }
    for_vectors(width - i, [&](int64_t j, auto access) { sums[0] += access(weights + i + j) * access(x + i + j); });
    out[row] = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

}  // namespace

const PackedKernels packed_kernels = {
    quantize,
    multiply<Mxfp4Weights>,
    group_mxfp4,
    multiply<Q8Weights>,
    {rows_times_vector<float>, rows_times_vector<Bfloat16>},
};

}  // namespace xinslm::XINSLM_ISA
