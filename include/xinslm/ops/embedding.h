#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// Rows of the table. The gradient sums the rows of equal tokens in their order, in float32: the same bits every time.
/// @param weight  [V, H] float32 or bfloat16
/// @param tokens  [...] int64 in [0, V)
/// @return        [..., H], type of weight
/// @throws Error(usage) naming the first token outside [0, V); on a GPU, where asking would hold up all work, such a
/// token
///         gives not-a-numbers instead
at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens);
at::Tensor embedding_ref(const at::Tensor& weight, const at::Tensor& tokens);

}  // namespace xinslm
