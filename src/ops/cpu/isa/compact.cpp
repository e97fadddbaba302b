#include "ops/cpu/compact_kernels.h"

#include "ops/cpu/isa/packed_dot.h"

namespace xinslm::XINSLM_ISA {
namespace {

constexpr int block = 64, codes_of_block = 32, block_bytes = block + codes_of_block;
constexpr int vector_bytes = 4 * lanes;
constexpr int64_t far_bytes = 16384;   // between two streams
constexpr int64_t ahead_bytes = 4096;  // of a single one
constexpr int64_t wide_blocks = 32;    // rows of more are read in a single stream

/// Codes of `vector_bytes` places from `first` on, one a byte.
XINSLM_INLINE ByteVec codes_at(const uint8_t* codes, [[maybe_unused]] int first) {
#if defined(__AVX512F__)
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m512i both = _mm512_maskz_broadcast_i64x4(0xff, pairs);
  const __m512i shifts = _mm512_mask_set1_epi16(_mm512_setzero_si512(), 0xffff0000, 4);  // of the upper half
  return bits_as<ByteVec>(_mm512_srlv_epi16(both, shifts)) & 15;
#else
  if (first < codes_of_block) return load_bytes(codes + first) & 15;
  return bits_as<ByteVec>(bits_as<WordVec>(load_bytes(codes + first - codes_of_block)) >> 4) & 15;
#endif
}

/// The bits of float32 numbers of a block: word[k] those of columns [16 k + first / 4, + lanes).
XINSLM_INLINE void words_at(const uint8_t* values, ByteVec table, int first, WordVec (&words)[4]) {
  const ByteVec lower = load_bytes(values + first), upper = look_up(table, codes_at(values + block, first));
  const WordVec low = bits_as<WordVec>(interleave_low(lower, upper));
  const WordVec high = bits_as<WordVec>(interleave_high(lower, upper));
  words[0] = low << 16;
  words[1] = low & 0xffff0000;
  words[2] = high << 16;
  words[3] = high & 0xffff0000;
}

/// out[0] and out[distance] of rows that far apart.
template <int rows, bool asks>
XINSLM_INLINE void rows_times_vector(const uint8_t* values, ByteVec table, int64_t blocks, int64_t distance,
                                     const float* x, float* out) {
  Vec sums[rows][4] = {};
  for (int64_t b = 0; b < blocks; ++b, values += block_bytes, x += block) {
    for (int line = 0; asks && line < block_bytes; line += 64) ask_ahead(values + line, ahead_bytes);
    XINSLM_UNROLL
    for (int first = 0; first < block; first += vector_bytes) {
      XINSLM_UNROLL
      for (int row = 0; row < rows; ++row) {
        WordVec words[4];
        words_at(values + row * distance * blocks * block_bytes, table, first, words);
        XINSLM_UNROLL
        for (int k = 0; k < 4; ++k) sums[row][k] += bits_as<Vec>(words[k]) * load(x + 16 * k + first / 4);
      }
    }
  }
  for (int row = 0; row < rows; ++row) {
    out[row * distance] = sum((sums[row][0] + sums[row][1]) + (sums[row][2] + sums[row][3]));
  }
}

/// Narrow rows two at a time from two places far apart: one stream stops at each 4 KiB until the processor foresees it
/// again, and the other goes on. Two streams side by side would share such a stretch, which halves the speed. Wide rows
/// in one stream that is asked for ahead. Each is slower with the other's sizes (docs/performance.md).
void times_vector(const uint8_t* values, const uint8_t* table, int64_t blocks, int64_t rows, const float* x,
                  float* out) {
  const ByteVec upper_bytes = sixteen_bytes(table);
  const int64_t row_bytes = blocks * block_bytes;
  if (blocks > wide_blocks) {
    for (int64_t row = 0; row < rows; ++row) {
      rows_times_vector<1, true>(values + row * row_bytes, upper_bytes, blocks, 0, x, out + row);
    }
    return;
  }
  const int64_t half = rows / 2 * row_bytes >= far_bytes ? rows / 2 : 0;
  int64_t row = 0;
  for (; row < half; ++row) {
    rows_times_vector<2, false>(values + row * row_bytes, upper_bytes, blocks, half, x, out + row);
  }
  for (row = 2 * half; row < rows; ++row) {
    rows_times_vector<1, false>(values + row * row_bytes, upper_bytes, blocks, 0, x, out + row);
  }
}

void restore(const uint8_t* values, const uint8_t* table, int64_t blocks, uint16_t* to) {
  const ByteVec upper_bytes = sixteen_bytes(table);
  for (int64_t b = 0; b < blocks; ++b, values += block_bytes, to += block) {
    for (int first = 0; first < block; first += vector_bytes) {
      WordVec words[4];
      words_at(values, upper_bytes, first, words);
      XINSLM_UNROLL
      for (int k = 0; k < 4; ++k) {
        const HalfVec numbers = halves_of(words[k] >> 16);
        __builtin_memcpy(to + 16 * k + first / 4, &numbers, sizeof numbers);
      }
    }
  }
}

}  // namespace

const CompactKernels compact_kernels = {times_vector, restore};

}  // namespace xinslm::XINSLM_ISA
