#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/data/batch.h"
#include "xinslm/model/transformer.h"
#include "xinslm/train/gradients.h"

namespace xinslm {

/// What is decided before a step is computed; the same after a resume.
struct StepPlan {
  int64_t step = 0;
  int64_t experts = 0;  ///< per token
  double learning_factor = 0;
  const std::vector<at::Tensor>* router_bias = nullptr;
};

/// What a step came to.
struct StepResult {
  double loss_sum = 0;                  ///< nats over the target tokens
  double balance_loss = 0, z_loss = 0;  ///< mean of the MoE layers
  double gradient_norm = 0;             ///< of the mean loss, before clipping
  int64_t tokens = 0, target_tokens = 0, target_bytes = 0;
  at::Tensor expert_counts;   ///< [L, E] float32
  at::Tensor router_entropy;  ///< [L] float32

  bool finite() const;
  double loss() const;
};

/// Experts a token may choose in this step: k, or with elastic_top_k half of the time any number from 1 to min(2k, E).
int64_t draw_experts(const ModelConfig& config, uint64_t seed, int64_t step);

/// Forward and backward over the batches of one step. The gradients are of the sum over target tokens.
StepResult compute_gradients(const Transformer& model, const std::vector<Batch>& batches,
                             const TrainingSettings& settings, const StepPlan& plan, Gradients& gradients);

}  // namespace xinslm
