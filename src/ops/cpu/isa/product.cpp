#include "ops/cpu/isa/simd.h"
#include "ops/cpu/product_kernels.h"

namespace xinslm::XINSLM_ISA {

#ifdef __AVX512BF16__
namespace {

constexpr int64_t tile_stride = ProductKernels::tile_stride, panel_columns = ProductKernels::panel_columns;
static_assert(tile_stride == lanes && panel_columns == 2 * lanes);

/// 28 sums, two vectors of the panel and a broadcast pair fill the 32 registers.
constexpr int tile_rows = ProductKernels::tile_rows;

XINSLM_INLINE uint16_t mask_of(int64_t count) {
  return static_cast<uint16_t>(count >= lanes ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}
XINSLM_INLINE HalfVec load_masked(__mmask16 mask, const Bfloat16* p) {
  return bits_as<HalfVec>(_mm256_maskz_loadu_epi16(mask, p));
}

/// Turns 16 rows of 16 pairs into 16 columns: blocks of 8, 4, 2 and 1 change places across the diagonal.
XINSLM_INLINE void transpose(__m512i (&rows)[16]) {
  const IntVec lane = lane_numbers();
#pragma GCC unroll 4
  for (int size = 8; size > 0; size /= 2) {
    const auto upper = bits_as<__m512i>((lane & size) != 0 ? lane + 16 - size : lane);
    const auto lower = bits_as<__m512i>((lane & size) != 0 ? lane + 16 : lane + size);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if ((i & size) != 0) continue;
      const __m512i a = rows[i], b = rows[i + size];
      rows[i] = _mm512_permutex2var_epi32(a, upper, b);
      rows[i + size] = _mm512_permutex2var_epi32(a, lower, b);
    }
  }
}

/// Up to 16 rows of k values, k even, side by side: to[step * to_stride + row].
void pack_rows(const Bfloat16* from, int64_t stride, int64_t rows, int64_t k, uint32_t* to, int64_t to_stride) {
  for (int64_t step = 0; step < k / 2; step += lanes) {
    const __mmask16 mask = mask_of(k / 2 - step);
    __m512i block[16];
#pragma GCC unroll 16
    for (int row = 0; row < 16; ++row) {
      block[row] = _mm512_maskz_loadu_epi32(row < rows ? mask : __mmask16{0}, from + row * stride + 2 * step);
    }
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (step + i < k / 2) _mm512_storeu_si512(to + (step + i) * to_stride, block[i]);
    }
  }
}

/// Up to 16 columns of k rows, in pairs of rows: to[step * to_stride + column].
void pack_columns(const Bfloat16* from, int64_t stride, int64_t columns, int64_t k, uint32_t* to, int64_t to_stride) {
  const __mmask16 mask = mask_of(columns);
  for (int64_t row = 0; row < k; row += 2) {
    const Bfloat16* p = from + row * stride;
    const HalfVec first = load_masked(mask, p), second = row + 1 < k ? load_masked(mask, p + stride) : HalfVec{};
    const WordVec pairs = words_of(first) | (words_of(second) << 16);
    _mm512_storeu_si512(to + row / 2 * to_stride, bits_as<__m512i>(pairs));
  }
}

void pack_tile(const void* a, int64_t stride, int64_t rows, int64_t k, void* tile) {
  pack_rows(static_cast<const Bfloat16*>(a), stride, rows, k, static_cast<uint32_t*>(tile), tile_stride);
}

void pack_tile_transposed(const void* a, int64_t stride, int64_t rows, int64_t k, void* tile) {
  pack_columns(static_cast<const Bfloat16*>(a), stride, rows, k, static_cast<uint32_t*>(tile), tile_stride);
}

void pack_panel(const void* b, int64_t stride, int64_t k, int64_t columns, void* panel) {
  for (int64_t first = 0; first < panel_columns; first += lanes) {
    pack_columns(static_cast<const Bfloat16*>(b) + first, stride, columns - first, k,
                 static_cast<uint32_t*>(panel) + first, panel_columns);
  }
}

void pack_panel_transposed(const void* b, int64_t stride, int64_t k, int64_t columns, void* panel) {
  for (int64_t first = 0; first < panel_columns; first += lanes) {
    pack_rows(static_cast<const Bfloat16*>(b) + first * stride, stride, columns - first, k,
              static_cast<uint32_t*>(panel) + first, panel_columns);
  }
}

template <int rows>
void multiply_rows(const uint32_t* tile, const uint32_t* panel, int64_t steps, Bfloat16* c, int64_t c_stride,
                   __mmask16 left, __mmask16 right) {
  __m512 sum[rows][2];
#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
  for (int64_t step = 0; step < steps; ++step, tile += tile_stride, panel += panel_columns) {
    const auto b0 = bits_as<__m512bh>(_mm512_loadu_si512(panel));
    const auto b1 = bits_as<__m512bh>(_mm512_loadu_si512(panel + lanes));
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) {
      const auto pair = bits_as<__m512bh>(_mm512_set1_epi32(static_cast<int>(tile[row])));
      sum[row][0] = _mm512_dpbf16_ps(sum[row][0], pair, b0);
      sum[row][1] = _mm512_dpbf16_ps(sum[row][1], pair, b1);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row) {
    Bfloat16* to = c + row * c_stride;
    _mm256_mask_storeu_epi16(to, left, bits_as<__m256i>(_mm512_cvtneps_pbh(sum[row][0])));
    _mm256_mask_storeu_epi16(to + lanes, right, bits_as<__m256i>(_mm512_cvtneps_pbh(sum[row][1])));
  }
}

using Multiply = decltype(&multiply_rows<1>);
constexpr Multiply multiply_table[tile_rows + 1] = {
    nullptr,           multiply_rows<1>,  multiply_rows<2>,  multiply_rows<3>,  multiply_rows<4>,
    multiply_rows<5>,  multiply_rows<6>,  multiply_rows<7>,  multiply_rows<8>,  multiply_rows<9>,
    multiply_rows<10>, multiply_rows<11>, multiply_rows<12>, multiply_rows<13>, multiply_rows<14>};

void multiply(const void* tile, const void* panel, int64_t steps, void* c, int64_t c_stride, int64_t rows,
              int64_t columns) {
  multiply_table[rows](static_cast<const uint32_t*>(tile), static_cast<const uint32_t*>(panel), steps,
                       static_cast<Bfloat16*>(c), c_stride, mask_of(columns), mask_of(columns - lanes));
}

}  // namespace

const ProductKernels product_kernels = {pack_tile, pack_tile_transposed, pack_panel, pack_panel_transposed, multiply};
#else
const ProductKernels product_kernels = {};
#endif

}  // namespace xinslm::XINSLM_ISA
