#pragma once
#include "xinslm/ops/stored_heads.h"

namespace xinslm::mps {

/// Whether scales lie as rows of integers do, a token's behind that before it: at their offset / width.
bool scales_follow(const StoredHeads& heads);

/// Writes new keys and values to their places in one launch. @return false, and nothing is written, where no kernel
/// does that: for other devices, for a change of type, and for places of strides that a cache does not have
bool store_heads(const at::Tensor& keys, const at::Tensor& values, const StoredHeads& key_place,
                 const StoredHeads& value_place);

}  // namespace xinslm::mps
