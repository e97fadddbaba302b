#pragma once
#include "xinslm/model/transformer.h"

namespace xinslm {

/// Refuses what a forward pass cannot do, before anything is computed.
/// @throws Error(usage) naming the option, what was found and what is possible; Error(runtime) for missing weights
void check_pass(const Transformer& model, const at::Tensor& tokens, const ForwardOptions& options);

}  // namespace xinslm
