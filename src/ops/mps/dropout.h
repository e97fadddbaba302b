#pragma once
#include <ATen/core/Tensor.h>

#include "ops/dropout_key.h"

namespace xinslm::mps {

/// Row-major, whatever the strides of x.
at::Tensor dropout(const at::Tensor& x, const DropoutKey& key);

}  // namespace xinslm::mps
