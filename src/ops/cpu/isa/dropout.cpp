#include "ops/cpu/isa/simd.h"
#include "ops/cpu/row_kernels.h"
#include "ops/dropout_key.h"

namespace xinslm::XINSLM_ISA {
namespace {

XINSLM_INLINE WordVec mix_words(WordVec x) {
  x ^= x >> 16;
  x *= static_cast<uint32_t>(mix_multiplier_1);
  x ^= x >> 15;
  x *= static_cast<uint32_t>(mix_multiplier_2);
  return x ^ (x >> 16);
}

/// Elements whose index has one high word.
template <class T>
void apply_block(const T* x, T* y, uint32_t low, int64_t size, uint32_t first, uint32_t second, uint32_t threshold,
                 float scale) {
  const WordVec numbers = bits_as<WordVec>(lane_numbers());
  for_vectors(size, [&](int64_t i, auto access) {
    const WordVec index = numbers + (low + static_cast<uint32_t>(i));
    const IntVec kept = mix_words(mix_words(index ^ first) + second) >= threshold;
    access(y + i, select(kept, access(x + i) * scale, Vec{}));
  });
}

template <class T>
void apply(const void* x, void* y, int64_t first, int64_t size, uint32_t key_first, uint32_t key_second,
           uint32_t threshold, float scale) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(y);
  for (int64_t done = 0; done < size;) {
    const int64_t index = first + done, rest = (int64_t{1} << 32) - (index & 0xffffffff);
    const int64_t count = smaller(rest, size - done);
    apply_block(from + done, to + done, static_cast<uint32_t>(index), count, key_first,
                key_second + static_cast<uint32_t>(index >> 32) * DropoutKey::high_step, threshold, scale);
    done += count;
  }
}

}  // namespace

const DropoutKernels dropout_kernels = {{apply<float>, apply<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
