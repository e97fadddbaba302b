#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>

namespace xinslm {

/// Prompt tokens of the next pass: many enough for full speed, few enough that Ctrl-C is heard soon. LibTorch compiles
/// graphs for a GPU, and its allocator keeps memory, for each length it has met; so there passes have few lengths:
/// powers of two, and less than 32 at the end.
/// @param left  tokens of the prompt that are still to be computed, at least 1
inline size_t pass_length(size_t left, bool on_processor) {
  constexpr size_t most = 512, least = 32;
  const size_t length = std::min(most, left);
  return on_processor || length < least ? length : std::bit_floor(length);
}

}  // namespace xinslm
