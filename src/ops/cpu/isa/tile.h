#pragma once
// Products of small matrices that stay in the cache, and the layouts they want.
//
// Compute types: float, or Bfloat16 where the processor multiplies pairs of them (vdpbf16ps). The right-hand matrix B
// [k, n] is stored as [k / P][n][P] with P = 1 for float and 2 for Bfloat16.
#include "ops/cpu/isa/simd.h"

namespace xinslm::XINSLM_ISA {

template <class Compute>
struct Packing;
template <>
struct Packing<float> {
  static constexpr int pair = 1;
};
template <>
struct Packing<Bfloat16> {
  static constexpr int pair = 2;
};

/// What arrays of type Storage are multiplied as.
template <class Storage>
struct ComputeOf {
#ifdef __AVX512BF16__
  using type = Storage;
#else
  using type = float;
#endif
};

template <class To, class From>
XINSLM_INLINE To convert(From x) {
  if constexpr (sizeof(To) == sizeof(From)) {
    return x;
  } else if constexpr (sizeof(To) == 4) {
    return bits_as<float>(static_cast<uint32_t>(x) << 16);
  } else {
    const uint32_t word = bits_as<uint32_t>(x);
    return x != x ? Bfloat16{0x7fc0} : static_cast<Bfloat16>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
  }
}

constexpr int tile_rows = 4;
constexpr int tile_vectors = lanes == 16 ? 4 : 2;

/// sum += a * b for one k (float) or two (Bfloat16).
XINSLM_INLINE void multiply_add(Vec& sum, float a, Vec b) {
  sum += a * b;
}
#ifdef __AVX512BF16__
XINSLM_INLINE void multiply_add(Vec& sum, uint32_t a, WordVec b) {
  sum = bits_as<Vec>(_mm512_dpbf16_ps(bits_as<__m512>(sum), bits_as<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))),
                                      bits_as<__m512bh>(b)));
}
#endif

template <class Compute>
struct Step;  // what one step along k reads
template <>
struct Step<float> {
  using Scalar = float;
  using Vector = Vec;
};
template <>
struct Step<Bfloat16> {
  using Scalar = uint32_t;
  using Vector = WordVec;
};

/// C [4, vectors * lanes] += A [4, steps] * B [steps, ...]; strides in steps.
template <class Compute, int vectors, bool accumulate>
XINSLM_INLINE void multiply_panel(const typename Step<Compute>::Scalar* a, int64_t a_stride,
                                  const typename Step<Compute>::Scalar* b, int64_t b_stride, float* c, int64_t c_stride,
                                  int64_t steps) {
  Vec sum[tile_rows][vectors];
  XINSLM_UNROLL
  for (int row = 0; row < tile_rows; ++row) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) sum[row][v] = accumulate ? load(c + row * c_stride + v * lanes) : Vec{};
  }
  for (int64_t step = 0; step < steps; ++step) {
    typename Step<Compute>::Vector right[vectors];
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) __builtin_memcpy(&right[v], b + step * b_stride + v * lanes, sizeof right[v]);
    XINSLM_UNROLL
    for (int row = 0; row < tile_rows; ++row) {
      typename Step<Compute>::Scalar left;
      __builtin_memcpy(&left, a + row * a_stride + step, sizeof left);
      XINSLM_UNROLL
      for (int v = 0; v < vectors; ++v) multiply_add(sum[row][v], left, right[v]);
    }
  }
  XINSLM_UNROLL
  for (int row = 0; row < tile_rows; ++row) {
    XINSLM_UNROLL
    for (int v = 0; v < vectors; ++v) store(c + row * c_stride + v * lanes, sum[row][v]);
  }
}

/// C [m, n] = A [m, k] * B [k, n], or += when accumulate. m is a multiple of 4, n of lanes, k of the pair size.
/// @param a         row-major, a_stride elements a row
/// @param b         packed, b_stride columns a row
/// @param c         row-major float
template <class Compute, bool accumulate>
void multiply(const Compute* a, int64_t a_stride, const Compute* b, int64_t b_stride, float* c, int64_t c_stride,
              int64_t m, int64_t n, int64_t k) {
  using Scalar = typename Step<Compute>::Scalar;
  constexpr int pair = Packing<Compute>::pair;
  constexpr int64_t width = tile_vectors * lanes;
  const auto* left = reinterpret_cast<const Scalar*>(a);
  const auto* right = reinterpret_cast<const Scalar*>(b);
  a_stride /= pair;
  int64_t column = 0;
  for (; column + width <= n; column += width) {
    for (int64_t row = 0; row < m; row += tile_rows) {
      multiply_panel<Compute, tile_vectors, accumulate>(left + row * a_stride, a_stride, right + column, b_stride,
                                                        c + row * c_stride + column, c_stride, k / pair);
    }
  }
  for (; column < n; column += lanes) {
    for (int64_t row = 0; row < m; row += tile_rows) {
      multiply_panel<Compute, 1, accumulate>(left + row * a_stride, a_stride, right + column, b_stride,
                                             c + row * c_stride + column, c_stride, k / pair);
    }
  }
}

/// Copies [rows, width] into a left-hand matrix [padded_rows, padded_width], zero outside.
template <class Storage, class Compute>
void pack_left(const Storage* from, int64_t stride, int64_t rows, int64_t width, Compute* to, int64_t padded_rows,
               int64_t padded_width) {
  if (rows < padded_rows || width < padded_width) __builtin_memset(to, 0, padded_rows * padded_width * sizeof *to);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) to[row * padded_width + i] = convert<Compute>(from[row * stride + i]);
  }
}

/// The transpose of [rows, width] as left-hand matrix [padded_width, padded_rows], zero outside.
template <class Storage, class Compute>
void pack_left_transposed(const Storage* from, int64_t stride, int64_t rows, int64_t width, Compute* to,
                          int64_t padded_rows, int64_t padded_width) {
  if (rows < padded_rows || width < padded_width) __builtin_memset(to, 0, padded_rows * padded_width * sizeof *to);
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t row = 0; row < rows; ++row) to[i * padded_rows + row] = convert<Compute>(from[row * stride + i]);
  }
}

/// Packs the transpose of [rows, width] as right-hand matrix [padded_width, padded_rows], zero outside.
template <class Storage, class Compute>
void pack_right_transposed(const Storage* from, int64_t stride, int64_t rows, int64_t width, Compute* to,
                           int64_t padded_rows, int64_t padded_width) {
  constexpr int pair = Packing<Compute>::pair;
  if (rows < padded_rows || width < padded_width) __builtin_memset(to, 0, padded_rows * padded_width * sizeof *to);
  for (int64_t row = 0; row < rows; ++row) {
    const Storage* source = from + row * stride;
    int64_t i = 0;
    for (; i + pair <= width; i += pair) {
      Compute* target = to + i * padded_rows + row * pair;
      if constexpr (pair == 2) {
        __builtin_memcpy(target, source + i, 2 * sizeof *target);
      } else {
        *target = convert<Compute>(source[i]);
      }
    }
    if (i < width) to[i * padded_rows + row * pair] = convert<Compute>(source[i]);
  }
}

/// Packs [rows, width] as right-hand matrix [padded_rows, padded_width], zero outside.
template <class Storage, class Compute>
void pack_right(const Storage* from, int64_t stride, int64_t rows, int64_t width, Compute* to, int64_t padded_rows,
                int64_t padded_width) {
  constexpr int pair = Packing<Compute>::pair;
  if (rows < padded_rows || width < padded_width) __builtin_memset(to, 0, padded_rows * padded_width * sizeof *to);
  int64_t row = 0;
  for (; row + pair <= rows; row += pair) {
    const Storage* source = from + row * stride;
    Compute* target = to + row * padded_width;
    for (int64_t i = 0; i < width; ++i) {
      for (int k = 0; k < pair; ++k) target[i * pair + k] = convert<Compute>(source[k * stride + i]);
    }
  }
  if (row < rows) {
    for (int64_t i = 0; i < width; ++i) to[row * padded_width + i * pair] = convert<Compute>(from[row * stride + i]);
  }
}

}  // namespace xinslm::XINSLM_ISA
