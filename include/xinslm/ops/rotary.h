#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

#include "xinslm/config/model_config.h"

namespace xinslm {

/// Cosines and sines of positions [first, first + count), each [count, D/2] float32, YaRN's attention factor included
/// (0.1 ln(factor) + 1; Peng et al. 2023; gpt_oss/torch/model.py RotaryEmbedding).
std::pair<at::Tensor, at::Tensor> rotary_table(const RopeSettings& rope, int64_t head_dim, int64_t first, int64_t count,
                                               at::Device device);

/// Turns each pair (x[i], x[i + D/2]) by its position's angle.
/// @param x    [B, heads, T, D] float32 or bfloat16, any strides
/// @param cos  [T, D/2] float32
/// @return     [B, heads, T, D], type of x
at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
at::Tensor rotary_ref(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

/// rotary(rms_norm(x, gain, eps), cos, sin): what a model with norms of queries and keys does, in one pass where that
/// pays.
/// @param gain  [D]
at::Tensor rms_norm_rotary(const at::Tensor& x, const at::Tensor& gain, double eps, const at::Tensor& cos,
                           const at::Tensor& sin);

}  // namespace xinslm
