#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm::mps {

/// Rows of weight [V, H] for tokens [...], both dense: [..., H]; not-a-numbers where a token is outside [0, V).
at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens);

/// [V, H]: the rows of grad [..., H] of equal tokens summed in their order, in float32.
at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocabulary);

}  // namespace xinslm::mps
