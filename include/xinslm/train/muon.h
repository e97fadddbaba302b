#pragma once
#include <ATen/core/Tensor.h>

namespace xinslm {

/// The nearest matrix with singular values about 1 to each matrix of a batch, by five steps of a quintic Newton-Schulz
/// iteration with coefficients (3.4445, -4.7750, 2.0315) (Jordan et al. 2024, "Muon").
/// @param matrices  [..., rows, columns], any floating type; computed in that type
at::Tensor orthogonalize(const at::Tensor& matrices);

struct MuonStep {
  double learning_rate, momentum, weight_decay;
  double gradient_scale;  ///< multiplies the gradient first
  at::ScalarType type;    ///< of the Newton-Schulz products
};

/// One Muon step with Nesterov momentum in place: orthogonalised update times learning_rate * sqrt(max(1, out / in)),
/// decoupled weight decay.
/// @param master    float32 [out, in], or experts [E, in, out], each a matrix of its own
/// @param momentum  float32, as master
/// @param compute   bfloat16 copy of the weights to refresh, or undefined
void muon_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& momentum,
               const at::Tensor& compute, const MuonStep& step);

}  // namespace xinslm
