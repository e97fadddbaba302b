#pragma once
// Packed weights of layout rows16, decoded a block at a time.
#include "ops/cpu/isa/packed_dot.h"
#include "ops/cpu/packed_kernels.h"
#include "xinslm/quant/formats.h"

namespace xinslm::XINSLM_ISA {

constexpr int block{quant_block};             // columns of a block
constexpr int group_rows{Rows16::rows};       // weight rows of a group
constexpr int row_bytes{Rows16::lane_bytes};  // neighbouring columns of one row in a vector of 64 bytes
constexpr int vector_bytes{Rows16::vector_bytes};

/// Weights of `lanes` rows of a group, from row `first`: a block decoded to bytes ready for dot().
struct Mxfp4Weights {
  using Scale = uint8_t;
  static constexpr bool can_be_shifted = true;
  static constexpr bool is_decoded = false;
  static constexpr int vectors{Mxfp4Format::vectors}, block_bytes = vectors * vector_bytes;

  static XINSLM_INLINE int32_t start(const DotStart& of) { return of.fp4; }
  static XINSLM_INLINE IntVec dot(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
    return dot_fp4(start, weights, x);
  }

  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const ByteVec pairs = load_bytes(values + v * vector_bytes + first * row_bytes);
      weights[2 * v] = fp4_of_low_nibbles(pairs);
      weights[2 * v + 1] = fp4_of_high_nibbles(pairs);
    }
  }
  /// Half of 2^(scale - 127), since the decoded values are doubled.
  static XINSLM_INLINE Vec scale(const uint8_t* scales) { return scale_of(widened(scales)); }
  static XINSLM_INLINE Vec scale_of(IntVec exponents) { return bits_as<Vec>(exponents << 23) * 0.5f; }
};

struct Q8Weights {
  using Scale = uint16_t;
  static constexpr bool can_be_shifted = false;
  static constexpr bool is_decoded = false;
  static constexpr int vectors{Q8Format::vectors}, block_bytes = vectors * vector_bytes;

  static XINSLM_INLINE int32_t start(const DotStart& of) { return of.q8; }
  static XINSLM_INLINE IntVec dot(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
    return dot_q8(start, weights, x);
  }

  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) weights[v] = q8_bytes(load_bytes(values + v * vector_bytes + first * row_bytes));
  }
  static XINSLM_INLINE Vec scale(const uint16_t* scales) { return load_float16(scales); }
};

/// Scales of a group, block after block.
template <class Weights>
struct WholeScales {
  const typename Weights::Scale* from;

  XINSLM_INLINE Vec of(int64_t block, int first) const { return Weights::scale(from + block * group_rows + first); }
  XINSLM_INLINE void advance(int64_t blocks) { from += blocks * group_rows; }
};

/// MXFP4's in halves of bytes, read here and there among the weights. Made whole beforehand, which reads them in one
/// burst, they hold a token's products up (docs/performance.md).
struct HalfScales {
  const uint8_t* from;
#ifdef __AVX512F__
  Vec table;  // of all halves
  XINSLM_INLINE HalfScales(const uint8_t* halves, uint8_t least)
      : from(halves), table(Mxfp4Weights::scale_of(lane_numbers() + int32_t{least})) {}
#else
  int32_t least;
  XINSLM_INLINE HalfScales(const uint8_t* halves, uint8_t least) : from(halves), least(least) {}
#endif

  XINSLM_INLINE Vec of(int64_t block, int first) const {
    const IntVec both = widened(from + block / 2 * group_rows + first), half = block % 2 == 0 ? both : both >> 4;
#ifdef __AVX512F__
    return bits_as<Vec>(_mm512_maskz_permutexvar_ps(0xffff, bits_as<__m512i>(half), bits_as<__m512>(table)));
#else
    return Mxfp4Weights::scale_of((half & 15) + least);
#endif
  }
  /// By an even number, unless they end.
  XINSLM_INLINE void advance(int64_t blocks) { from += blocks / 2 * group_rows; }
};

/// Weights that decode_ahead() has decoded: for each block [16 / lanes, 8, 4 * lanes] bytes, and scales [16].
template <class Weights>
struct DecodedBytes : Weights {
  using Scale = float;
  static constexpr bool is_decoded = true;
  static constexpr int block_bytes = group_rows * block;

  static XINSLM_INLINE Vec scale(const float* scales) { return load(scales); }
  static XINSLM_INLINE void arrange(ByteVec (&)[8]) {}
  static XINSLM_INLINE void decode(const uint8_t* values, int first, ByteVec (&weights)[8]) {
    XINSLM_UNROLL
    for (int v = 0; v < 8; ++v) weights[v] = load_bytes(values + first * block + v * 4 * lanes);
  }
};
template <class Weights>
struct Decoded : DecodedBytes<Weights> {};

#ifdef XINSLM_BRAIDED_FP4
template <>
struct Decoded<Mxfp4Weights> : DecodedBytes<Mxfp4Weights> {
  static XINSLM_INLINE void arrange(ByteVec (&weights)[8]) { braid(weights); }
  static XINSLM_INLINE IntVec dot(IntVec start, const ByteVec (&weights)[8], const int8_t* x) {
    return dot_braided_fp4(start, weights, x);
  }
};
#endif

}  // namespace xinslm::XINSLM_ISA
