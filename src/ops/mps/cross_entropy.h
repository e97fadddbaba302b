#pragma once
#include <cstdint>

#include "ops/loss_parts.h"

namespace xinslm::mps {

/// Sum of the losses and, where asked, its gradients; arguments as those of xinslm::linear_cross_entropy().
LossAndGradients linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                      const LossSettings& settings, bool gradient);

/// As xinslm::token_log_probabilities(), for targets within the vocabulary.
at::Tensor token_log_probabilities(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                   double softcap, at::Tensor* greedy);

}  // namespace xinslm::mps
