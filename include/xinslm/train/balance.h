#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/model/transformer.h"
#include "xinslm/train/state_tensors.h"

namespace xinslm {

/// Load-balancing loss of one layer (Fedus et al. 2021, "Switch Transformers"): E * sum over experts of f * P, where f
/// is the share of the assignments an expert got and P its mean probability. 1 when balanced, up to E when collapsed.
/// The gradient reaches P alone.
/// @param router_logits [N, E] float32
/// @param counts        [E] float32, tokens each expert was given
/// @return scalar float32
at::Tensor load_balancing_loss(const at::Tensor& router_logits, const at::Tensor& counts);

/// Mean over tokens of the square of log-sum-exp of the router logits (Zoph et al. 2022, "ST-MoE").
/// @param router_logits [N, E] float32
at::Tensor router_z_loss(const at::Tensor& router_logits);

/// Tokens given to each expert. @param chosen [N, k] int64; @return [E] float32
at::Tensor count_assignments(const at::Tensor& chosen, int64_t num_experts);

/// A bias on each expert's logit, for the choice only, that moves against its load (Wang et al. 2024, arXiv
/// 2408.15664).
///
/// The file format of the model has no place for such a bias. Over the last fifth of a run it therefore fades to zero:
/// what is saved at the end routes as it was trained.
class RouterBias {
 public:
  RouterBias(const ModelConfig& config, at::Device device, double rate);

  bool active() const { return rate_ > 0; }

  /// For ForwardOptions::router_bias; nullptr when off.
  /// @param share_done  of the run, in [0, 1]
  const std::vector<at::Tensor>* at_share(double share_done);

  /// @param counts [L, E], assignments of one step: overloaded experts go down by the rate, the others up
  void update(const at::Tensor& counts);

  NamedTensors state() const;
  void restore(const StateTensors& state);

 private:
  double rate_;
  at::Tensor bias_;  // [L, E]
  std::vector<at::Tensor> applied_;
};

}  // namespace xinslm
