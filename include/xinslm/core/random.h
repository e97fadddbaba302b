#pragma once
#include <cstdint>
#include <initializer_list>

namespace xinslm {

/// What a random stream is for. It stands in the stream's key, so that streams of one seed have nothing in common. The
/// values are part of what a seed means: a run or a text made again from its seed needs them as they are.
namespace random_for {
enum Purpose : uint64_t {
  initial_weights = 0x696e6974,       // "init"
  packed_codes = 0x636f646573,        // "codes": a random model in MXFP4
  builtin_story = 0x73746f7279,       // "story"
  corpus_sample = 0x73616d706c65,     // "sample": first part of its key
  document_order = 0x73687566666c65,  // "shuffle": of packed sequences
  row_order = 0x726f7773,             // "rows": of sequences of whole documents
  expert_count = 0x657870,            // "exp": elastic_top_k
  dropout = 0x64726f,                 // "dro"
  next_token = 0x73616d706c65,        // "sample": second part of its key
  doctor_values = 0x646f63746f72,     // "doctor"
  doctor_text = 0x6d6f64656c,         // "model"
  speed_text = 0x7370656564,          // "speed"
};
}  // namespace random_for

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
