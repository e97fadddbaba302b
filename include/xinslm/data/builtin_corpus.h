#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace xinslm {

/// Short simple stories from a probabilistic grammar of our own. Every text has one derivation only, so the probability
/// of a text is known exactly, and with it how well any model can do: -log p(text) is a lower bound, on average, for
/// the loss of a model that reads the stories.
struct Story {
  std::string text;
  double nats = 0;  ///< -ln p(text), the end of the story included
};

/// Story number `index` of the corpus with this seed.
Story builtin_story(uint64_t seed, int64_t index);

/// Changes when the stories do.
std::string builtin_fingerprint();

/// -ln p(text) by parsing the text, summed over every derivation there is.
/// @throws Error(data) when the grammar cannot write this text
double text_nats(std::string_view story);

/// What one story holds on average, computed from the grammar by recursion, not by sampling.
struct StoryEntropy {
  double nats = 0;   ///< entropy of a story
  double bytes = 0;  ///< expected length

  double bits_per_byte() const { return nats / bytes / 0.69314718055994530942; }
};
const StoryEntropy& builtin_entropy();

}  // namespace xinslm
