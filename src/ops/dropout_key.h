#pragma once
#include <cstdint>

namespace xinslm {

// The finalizer "lowbias32" (Wellons, Prospecting for Hash Functions, 2018): every output bit flips with every input
// bit with probability close to a half.
constexpr int64_t mix_multiplier_1 = 0x7feb352d;
constexpr int64_t mix_multiplier_2 = 0x846ca68b;

constexpr uint32_t mix_word(uint32_t x) {
  x ^= x >> 16;
  x *= static_cast<uint32_t>(mix_multiplier_1);
  x ^= x >> 15;
  x *= static_cast<uint32_t>(mix_multiplier_2);
  return x ^ (x >> 16);
}

/// What decides over an element: it is kept iff
/// mix_word(mix_word(low ^ first) + high * high_step + second) >= threshold, low and high being the words of its index.
struct DropoutKey {
  static constexpr uint32_t high_step = 0x9e3779b9;
  uint32_t first, second, threshold;
  float scale;  ///< 1 / (1 - p)

  DropoutKey(double p, uint64_t seed)
      : first(mix_word(static_cast<uint32_t>(seed) + high_step)),
        second(mix_word(static_cast<uint32_t>(seed >> 32) ^ first)),
        threshold(static_cast<uint32_t>(p * 4294967296.0)),
        scale(static_cast<float>(1 / (1 - p))) {}
};

}  // namespace xinslm
