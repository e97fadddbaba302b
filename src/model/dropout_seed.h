#pragma once
#include <cstdint>

#include "xinslm/core/random.h"

namespace xinslm {

/// Where in the model a dropout mask is drawn; part of its seed.
enum class DropoutPlace : uint64_t { words = 1, input, attention, mlp, output };

inline uint64_t dropout_seed(uint64_t seed, DropoutPlace place, int64_t layer = 0) {
  return mix_seed({seed, static_cast<uint64_t>(place), static_cast<uint64_t>(layer)});
}

}  // namespace xinslm
