#pragma once
#include <ATen/core/Tensor.h>

// What the versions of linear_cross_entropy take and give.
namespace xinslm {

struct LossSettings {
  double label_smoothing, softcap;
  bool weight_wanted = true;  ///< its gradient, where gradients are asked for at all
};

struct LossAndGradients {
  at::Tensor loss;    ///< scalar
  at::Tensor hidden;  ///< [N, H], type of hidden; undefined where no gradient was asked for
  at::Tensor weight;  ///< [V, H], float32 (or float64); undefined where it was not wanted
};

}  // namespace xinslm
