#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

struct AdamWStep {
  double learning_rate, beta1, beta2, eps, weight_decay;
  int64_t step;           ///< 1 for the first
  double gradient_scale;  ///< multiplies the gradient first (clipping, accumulation)
};

/// One decoupled AdamW step (Loshchilov & Hutter 2019) in place, in one pass over memory.
/// @param master    float32 weights
/// @param gradient  float32 or bfloat16
/// @param first, second  float32 moments
/// @param compute   bfloat16 copy of the weights to refresh, or undefined
void adamw_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first, const at::Tensor& second,
                const at::Tensor& compute, const AdamWStep& step);
void adamw_step_ref(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& compute, const AdamWStep& step);

/// Sum of squares in float64; deterministic for a given number of threads.
double sum_of_squares(const at::Tensor& tensor);
/// [] float32, left on the tensor's device: reading a number from a GPU waits for all work given to it.
at::Tensor sum_of_squares_there(const at::Tensor& tensor);

}  // namespace xinslm
