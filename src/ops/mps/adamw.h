#pragma once
#include <ATen/core/Tensor.h>

#include "ops/cpu/training_kernels.h"

namespace xinslm::mps {

/// Whether adamw_step takes these: dense, master and moments float32.
bool takes_adamw(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first,
                 const at::Tensor& second, const at::Tensor& compute);

/// `compute` may be undefined.
void adamw_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first, const at::Tensor& second,
                const at::Tensor& compute, const AdamWFactors& factors);

/// [] float32, where x is.
at::Tensor sum_of_squares(const at::Tensor& x);

}  // namespace xinslm::mps
