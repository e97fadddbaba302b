#pragma once
#include <cstdint>
#include <initializer_list>

namespace xinslm {

/// A random stream without hidden state to save: seeded from numbers that say what it is for (seed, purpose, step,
/// ...), so a resumed run draws the same numbers as one that never stopped. xoshiro256** (Blackman & Vigna 2018),
/// seeded by splitmix64. Satisfies std::uniform_random_bit_generator.
class RandomStream {
 public:
  using result_type = uint64_t;
  explicit RandomStream(std::initializer_list<uint64_t> key);

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()();

  /// Uniform in [0, 1) with 53 bits.
  double uniform();
  /// Uniform in [0, bound), unbiased (Lemire 2019). bound > 0.
  uint64_t below(uint64_t bound);
  /// Standard normal (Box-Muller).
  double normal();

 private:
  uint64_t state_[4];
};

/// Mixes the numbers into one well-distributed 64-bit value.
uint64_t mix_seed(std::initializer_list<uint64_t> key);

}  // namespace xinslm
