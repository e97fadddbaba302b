#include "ops/cpu/isa/packed_layout.h"
#include "ops/cpu/isa/packed_weights.h"
#include "ops/cpu/packed_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

/// Of `blocks` blocks, amax / 127; and what to multiply with to have codes.
struct CodeScale {
  float scale, inverse;
};
template <class T>
CodeScale code_scale(const T* x, int64_t blocks) {
  Vec largest = {};
  for (int64_t i = 0; i < blocks * block; i += lanes) {
    const Vec v = load(x + i);
    largest = larger_of(largest, larger_of(v, -v));
  }
  const float amax = maximum(largest);
  return {amax / 127.0f, code_factor(127.0f, amax)};
}

/// Codes of a block. @return what each lane has of their sum
template <class T>
XINSLM_INLINE IntVec round_to_codes(const T* x, float inverse, int8_t* codes) {
  IntVec total = {};
  XINSLM_UNROLL
  for (int i = 0; i < block; i += lanes) {
    // Adding 1.5 * 2^23 leaves the number rounded to nearest, ties to even, in the low bits.
    const IntVec code = bits_as<IntVec>(load(x + i) * inverse + 12582912.0f) - 0x4b400000;
    total += code;
    store_bytes(codes + i, code);
  }
  return total;
}

void quantize(const float* x, int64_t blocks, const QuantizedRow& to) {
  for (int64_t b = 0; b < blocks; b += stretch_blocks) {
    const int64_t count = smaller(stretch_blocks, blocks - b), place = b * to.height;
    const CodeScale scale = code_scale(x + b * block, count);
    int32_t total = 0;
    for (int64_t i = 0; i < count; ++i) {
      int8_t* codes = to.codes + (place + i * to.height) * block;
      const IntVec sums = round_to_codes(x + (b + i) * block, scale.inverse, codes);
      const auto of_block = static_cast<int32_t>(sum(__builtin_convertvector(sums, Vec)));  // small enough to be exact
      to.starts[place + i * to.height] = {-dot_offset_fp4 * of_block, -dot_offset_q8 * of_block};
      total += of_block;
    }
    to.scales[b / stretch_blocks * to.height] = {scale.scale, -dot_offset_shifted * total};
  }
}

template <class T>
float quantize_row(const void* x, int64_t blocks, int8_t* codes) {
  const T* from = static_cast<const T*>(x);
  const CodeScale scale = code_scale(from, blocks);
  for (int64_t i = 0; i < blocks * block; i += block) round_to_codes(from + i, scale.inverse, codes + i);
  Vec zeros = {};
  for (int64_t i = 0; i < blocks * block; i += lanes) zeros += load(from + i) * 0.0f;
  return scale.scale + sum(zeros);
}

template <class T>
void dequantize_row(const int8_t* codes, float scale, int64_t blocks, void* x) {
  T* to = static_cast<T*>(x);
  for (int64_t i = 0; i < blocks * block; i += lanes) {
    store(to + i, load(codes + i) * scale);
  }
}

/// For some rows, which are much to compute.
template <class Weights>
XINSLM_INLINE void ask_ahead_of_block(const uint8_t* block) {
  XINSLM_UNROLL
  for (int i = 0; i < Weights::block_bytes; i += vector_bytes) ask_ahead(block + i);
}

template <class Weights>
void decode_ahead(const uint8_t* values, const typename Weights::Scale* scales, int64_t blocks, uint8_t* to,
                  float* to_scales) {
  for (int64_t b = 0; b < blocks; ++b, values += Weights::block_bytes, scales += group_rows, to_scales += group_rows) {
    ask_ahead_of_block<Weights>(values);
    for (int first = 0; first < group_rows; first += lanes) {
      ByteVec weights[8];
      Weights::decode(values, first, weights);
      Decoded<Weights>::arrange(weights);
      XINSLM_UNROLL
      for (int v = 0; v < 8; ++v, to += sizeof weights[v]) __builtin_memcpy(to, &weights[v], sizeof weights[v]);
      store(to_scales + first, Weights::scale(scales + first));
    }
  }
}

/// Some of the blocks of a row, from a stretch's first on.
struct Blocks {
  int64_t first, count;
  int64_t all;  // of the row
};

/// A tile of rows, or what is left of it.
struct Tile {
  QuantizedRows x;
  int64_t height;
  float* out;
  int64_t out_stride;

  XINSLM_INLINE void advance(int64_t blocks) {
    x.codes += blocks * height * block;
    x.starts += blocks * height;
    x.scales += height;
  }
};

/// out (+)= sums * scales; `rows` is the height, or one more.
template <int rows>
XINSLM_INLINE void add_stretch(const Vec (&sums)[rows], const Tile& tile, int first, bool is_first) {
  float* out = tile.out + first;
  XINSLM_UNROLL_16
  for (int r = 0; r < rows; ++r, out += tile.out_stride) {
    if (r + 1 == rows && r == tile.height) break;
    store(out, multiply_add(sums[r], all(tile.x.scales[r].scale), is_first ? Vec{} : load(out)));
  }
}

/// A stretch of `count` blocks times `lanes` weight rows.
template <class Weights, int rows, class Scales>
void multiply_stretch(const uint8_t* values, const Scales& scales, int64_t count, const Tile& tile, int first,
                      bool is_first) {
  Vec sums[rows] = {};
  const int8_t* codes = tile.x.codes;
  const DotStart* starts = tile.x.starts;
  for (int64_t b = 0; b < count; ++b, codes += tile.height * block, starts += tile.height) {
    ByteVec weights[8];
    if (!Weights::is_decoded && rows > 2 && first == 0) ask_ahead_of_block<Weights>(values + b * Weights::block_bytes);
    Weights::decode(values + b * Weights::block_bytes, first, weights);
    const Vec scale = scales.of(b, first);
#ifdef __ARM_FEATURE_MATMUL_INT8
    if constexpr (rows > 1) {
      pair_up(weights);
      XINSLM_UNROLL_16
      for (int r = 0; r < rows; r += 2) {
        IntVec pair[2];
        dot_pairs(weights, codes + r * block, codes + (r + 1) * block, pair);
        sums[r] = multiply_add(__builtin_convertvector(pair[0], Vec), scale, sums[r]);
        sums[r + 1] = multiply_add(__builtin_convertvector(pair[1], Vec), scale, sums[r + 1]);
      }
      continue;
    }
#endif
    XINSLM_UNROLL_16
    for (int r = 0; r < rows; ++r) {
      const IntVec dot = Weights::dot(all_int(Weights::start(starts[r])), weights, codes + r * block);
      sums[r] = multiply_add(__builtin_convertvector(dot, Vec), scale, sums[r]);
    }
  }
  add_stretch(sums, tile, first, is_first);
}

#ifdef __AVX512VNNI__
/// Largest difference of exponents for which shifted weights still are bytes.
constexpr int most_shift = 3;

/// The same product for MXFP4 weights whose exponents differ little: shifted to one exponent, all products of a stretch
/// are one sum of whole numbers below 2^24, which float32 holds, so nothing is rounded differently.
/// @return false, and nothing done, where they differ more
template <int rows>
XINSLM_INLINE bool multiply_shifted_stretch(const uint8_t* values, const uint8_t* scales, int64_t count,
                                            const Tile& tile, bool is_first) {
  IntVec least = widened(scales), most = least;
  for (int64_t b = 1; b < count; ++b) {
    const IntVec exponent = widened(scales + b * group_rows);
    least = exponent < least ? exponent : least;
    most = exponent > most ? exponent : most;
  }
  if (any(most - least > most_shift)) return false;
  IntVec dots[rows];
  XINSLM_UNROLL_16
  for (int r = 0; r < rows; ++r) dots[r] = all_int(tile.x.scales[r].start);
  const int8_t* codes = tile.x.codes;
#pragma GCC unroll 1
  for (int64_t b = 0; b < count; ++b, codes += tile.height * block) {
    const ShiftedFp4 shifted(widened(scales + b * group_rows) - least);
    XINSLM_UNROLL
    for (int v = 0; v < 4; ++v) {
      const uint8_t* from = values + b * Mxfp4Weights::block_bytes + v * vector_bytes;
      ask_ahead(from);  // many rows are much to compute
      const ByteVec pairs = load_bytes(from);
      const ByteVec low = shifted(fp4_of_low_nibbles(pairs)), high = shifted(fp4_of_high_nibbles(pairs));
      XINSLM_UNROLL_16
      for (int r = 0; r < rows; ++r) dots[r] = add_dot(dots[r], low, codes + r * block + 8 * v);
      XINSLM_UNROLL_16
      for (int r = 0; r < rows; ++r) dots[r] = add_dot(dots[r], high, codes + r * block + 8 * v + 4);
    }
  }
  const Vec scale = Mxfp4Weights::scale_of(least);
  Vec sums[rows];
  XINSLM_UNROLL_16
  for (int r = 0; r < rows; ++r) sums[r] = __builtin_convertvector(dots[r], Vec) * scale;
  add_stretch(sums, tile, 0, is_first);
  return true;
}
#endif

/// `rows` rows, the first tile.height of which are wanted. `values`, `scales` and the tile begin at the blocks, whose
/// sums are added to `out` unless they are the row's first.
template <class Weights, int rows, class Scales = WholeScales<Weights>>
void multiply_rows(const uint8_t* values, Scales scales, const Blocks& blocks, Tile tile) {
  for (int64_t b = 0; b < blocks.count; b += stretch_blocks) {
    const int64_t count = smaller(stretch_blocks, blocks.count - b);
    const bool is_first = blocks.first + b == 0;
    const auto multiply_any = [&] {
      for (int first = 0; first < group_rows; first += lanes) {
        multiply_stretch<Weights, rows>(values, scales, count, tile, first, is_first);
      }
    };
#ifdef __AVX512VNNI__
    if constexpr (Weights::can_be_shifted && rows > 4) {
      if (!multiply_shifted_stretch<rows>(values, scales.from, count, tile, is_first)) multiply_any();
    } else {
      multiply_any();
    }
#else
    multiply_any();
#endif
    values += count * Weights::block_bytes;
    scales.advance(count);
    tile.advance(count);
  }
}

/// multiply_rows() by height. In low tiles, which may take rows in pairs, two heights share one.
template <class Weights>
constexpr decltype(&multiply_rows<Weights, 1>) heights[] = {
    nullptr,
    multiply_rows<Weights, 1>,
    multiply_rows<Weights, 2>,
    multiply_rows<Weights, 4>,
    multiply_rows<Weights, 4>,
#if defined(__AVX512F__)
    multiply_rows<Weights, 5>,
    multiply_rows<Weights, 6>,
    multiply_rows<Weights, 7>,
    multiply_rows<Weights, 8>,
    multiply_rows<Weights, 9>,
    multiply_rows<Weights, 10>,
    multiply_rows<Weights, 11>,
    multiply_rows<Weights, 12>,
    multiply_rows<Weights, 13>,
    multiply_rows<Weights, 14>,
    multiply_rows<Weights, 15>,
    multiply_rows<Weights, 16>,
#elif defined(__AVX2__)
    multiply_rows<Weights, 5>,
    multiply_rows<Weights, 6>,
    multiply_rows<Weights, 7>,
    multiply_rows<Weights, 8>,
#elif defined(__aarch64__)
    multiply_rows<Weights, 6>,
    multiply_rows<Weights, 6>,
    multiply_rows<Weights, 8>,
    multiply_rows<Weights, 8>,
#endif
};

/// Activation rows that one pass over the weights serves: their sums and the decoded block fill the registers.
constexpr int tile_rows = sizeof heights<Mxfp4Weights> / sizeof heights<Mxfp4Weights>[0] - 1;

/// Whether more rows than a tile takes share weights that are decoded beforehand, some blocks at a time into the first
/// cache: where tiles are too low, or have too few registers, for decoding to disappear in each.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool decodes_ahead = false;
#else
constexpr bool decodes_ahead = true;
#endif

template <class Weights>
void multiply_tiles(const uint8_t* values, const typename Weights::Scale* scales, const Blocks& blocks,
                    const QuantizedRows& x, int64_t rows, float* out, int64_t out_stride) {
  const int64_t stretches = (blocks.all + stretch_blocks - 1) / stretch_blocks;
  const int64_t count = count_tiles(rows, tile_rows);
  for (int64_t number = 0; number < count; ++number) {
    const auto [row, height] = row_tile(rows, count, number);
    const int64_t place = row * blocks.all + blocks.first * height;
    const Tile tile{{x.codes + place * block, x.scales + row * stretches + blocks.first / stretch_blocks * height,
                     x.starts + place},
                    height,
                    out + row * out_stride,
                    out_stride};
    heights<Weights>[height](values, {scales}, blocks, tile);
  }
}

template <class Weights>
void multiply_decoded(const uint8_t* values, const typename Weights::Scale* scales, int64_t blocks,
                      const QuantizedRows& x, int64_t rows, float* out, int64_t out_stride) {
  constexpr int64_t ahead = 4 * stretch_blocks;
  uint8_t decoded[ahead * Decoded<Weights>::block_bytes];
  float decoded_scales[ahead * group_rows];
  for (int64_t first = 0; first < blocks; first += ahead) {
    const int64_t count = smaller(ahead, blocks - first);
    decode_ahead<Weights>(values + first * Weights::block_bytes, scales + first * group_rows, count, decoded,
                          decoded_scales);
    multiply_tiles<Decoded<Weights>>(decoded, decoded_scales, {first, count, blocks}, x, rows, out, out_stride);
  }
}

template <class Weights>
void multiply(const uint8_t* values, const typename Weights::Scale* scales, int64_t blocks, const QuantizedRows& x,
              int64_t rows, float* out, int64_t out_stride) {
  // A token being generated comes here thousands of times.
  if (rows == 1) return multiply_rows<Weights, 1>(values, {scales}, {0, blocks, blocks}, {x, 1, out, out_stride});
  if constexpr (decodes_ahead) {
    if (rows > tile_rows) return multiply_decoded<Weights>(values, scales, blocks, x, rows, out, out_stride);
  }
  multiply_tiles<Weights>(values, scales, {0, blocks, blocks}, x, rows, out, out_stride);
}

void multiply_with_half_scales(const uint8_t* values, const uint8_t* halves, uint8_t least, int64_t blocks,
                               const QuantizedRows& x, float* out) {
  multiply_rows<Mxfp4Weights, 1>(values, HalfScales(halves, least), {0, blocks, blocks}, {x, 1, out, 0});
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
    tile_rows,
    quantize,
    {quantize_row<float>, quantize_row<Bfloat16>},
    {dequantize_row<float>, dequantize_row<Bfloat16>},
    multiply<Mxfp4Weights>,
    multiply_with_half_scales,
    group_mxfp4,
    widen_scales,
    multiply<Q8Weights>,
    {rows_times_vector<float>, rows_times_vector<Bfloat16>},
};

}  // namespace xinslm::XINSLM_ISA
