#include "ops/cpu/compact_kernels.h"
#include "ops/cpu/isa/packed_dot.h"
#include "xinslm/quant/formats.h"

namespace xinslm::XINSLM_ISA {
namespace {

constexpr int block{CompactFormat::block}, codes_of_block{CompactFormat::code_bytes};
constexpr int block_bytes{CompactFormat::block_bytes};
constexpr int vector_bytes = 4 * lanes;

/// Codes of `vector_bytes` places from `first` on, each the lower half of a byte.
XINSLM_INLINE ByteVec codes_at(const uint8_t* codes, [[maybe_unused]] int first) {
#if defined(__AVX512F__)
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m512i both = _mm512_maskz_broadcast_i64x4(0xff, pairs);
  const __m512i shifts = _mm512_mask_set1_epi16(_mm512_setzero_si512(), 0xffff0000, 4);  // of the upper half
  return bits_as<ByteVec>(_mm512_srlv_epi16(both, shifts));
#else
  if (first < codes_of_block) return load_bytes(codes + first);
  return bits_as<ByteVec>(bits_as<WordVec>(load_bytes(codes + first - codes_of_block)) >> 4);
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

/// Row after row, so that memory is read in one stream.
void times_vector(const uint8_t* values, const uint8_t* table, int64_t blocks, int64_t rows, const float* x,
                  float* out) {
  const ByteVec upper_bytes = sixteen_bytes(table);
  for (int64_t row = 0; row < rows; ++row) {
    Vec sums[4] = {};
    for (int64_t b = 0; b < blocks; ++b, values += block_bytes) {
      for (int line = 0; line < block_bytes; line += 64) ask_ahead(values + line);
      XINSLM_UNROLL
      for (int first = 0; first < block; first += vector_bytes) {
        WordVec words[4];
        words_at(values, upper_bytes, first, words);
        XINSLM_UNROLL
        for (int k = 0; k < 4; ++k) sums[k] += bits_as<Vec>(words[k]) * load(x + b * block + 16 * k + first / 4);
      }
    }
    out[row] = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
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
