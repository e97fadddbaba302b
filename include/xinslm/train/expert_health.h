#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/model/transformer.h"
#include "xinslm/train/state_tensors.h"

namespace xinslm {

/// How one MoE layer used its experts since the last look.
struct LayerHealth {
  std::vector<double> load;      ///< share of the assignments per expert; sums to 1
  double variation = 0;          ///< standard deviation of the load over its mean; 0 = balanced
  double router_entropy = 0;     ///< mean over tokens, in nats; ln E = undecided
  double effective_experts = 0;  ///< e to the entropy of the load: E when balanced, k when k experts get everything
  int64_t unused = 0;            ///< experts that got no token in the last 1,000 steps
  bool collapsed = false;        ///< effective_experts is less than a quarter of the way from k to E
};

/// Mean entropy over tokens of the softmax of the router logits, in nats. @return scalar float32
at::Tensor router_entropy(const at::Tensor& router_logits);

/// Watches which experts the tokens go to. Adds on the device; numbers come to the processor only when asked for.
class ExpertHealth {
 public:
  static constexpr int64_t unused_after = 1000;  ///< steps

  ExpertHealth(const ModelConfig& config, at::Device device);

  /// @param step    0 for the first
  /// @param counts  [L, E] tokens of this step per expert
  /// @param entropy [L] router entropy of this step
  void add(int64_t step, const at::Tensor& counts, const at::Tensor& entropy);

  /// The layers since the last call, which starts a new window; empty without MoE layers or steps.
  std::vector<LayerHealth> take();

  /// One sentence about layers that have collapsed since the last call; nothing when there are none.
  std::optional<std::string> warning(const std::vector<LayerHealth>& layers);

  NamedTensors state() const;
  void restore(const StateTensors& state);

 private:
  int64_t first_moe_layer_, chosen_;
  at::Tensor counts_;     // [L, E] float32, of the window
  at::Tensor entropy_;    // [L] float32, sum over the window's steps
  at::Tensor last_used_;  // [L, E] int64
  at::Tensor steps_;      // [2] int64: steps in the window, the step after the last
  std::vector<bool> warned_;
};

}  // namespace xinslm
