#pragma once
#include "xinslm/ops/stored_heads.h"

namespace xinslm::cpu {

/// Rounds keys or values to a place of integers. @return false, and nothing is written, where no kernel does that
bool store_integers(const at::Tensor& x, const StoredHeads& place);

/// out [B, K, S, D], dense, becomes what integers stand for. @return false where no kernel does that
bool load_integers(const StoredHeads& heads, const at::Tensor& out);

}  // namespace xinslm::cpu
