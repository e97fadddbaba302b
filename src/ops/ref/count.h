#pragma once
#include <ATen/core/Tensor.h>

#include "xinslm/core/fallbacks.h"

namespace xinslm {

/// Counts that the device of x ran a reference in place of a kernel of ours. linear() is not counted: there is no
/// kernel for it, LibTorch's product is what is meant to run.
inline void count_reference(const char* op, const at::Tensor& x) {
  if (!x.is_cpu()) count_fallback(op, FallbackTo::reference);
}

}  // namespace xinslm
