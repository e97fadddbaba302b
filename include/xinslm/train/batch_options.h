#pragma once
#include "xinslm/data/batch.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

/// What a forward pass on the device has to know of a batch: where attention stays inside a document, and which places
/// hold text.
ForwardOptions batch_options(const Batch& batch, at::Device device);

}  // namespace xinslm
