#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/format/safetensors.h"
#include "xinslm/model/transformer.h"
#include "xinslm/train/state_tensors.h"

namespace xinslm {

/// AdamW (Loshchilov & Hutter 2019), or Muon for matrices with AdamW for the rest, on float32 masters. Where the model
/// computes in bfloat16 its copies of the matrices are refreshed in the same pass. Parameters that are not trained have
/// no moments and stay as they are.
class Optimizer {
 public:
  /// @param masters  float32 weights, changed by every step
  /// @param model    what computes; tensors it shares with the masters need no copy
  Optimizer(const Transformer& masters, const Transformer& model, const TrainingSettings& settings);

  /// @param gradients  one per parameter in model order, float32 or bfloat16; undefined = zero, the parameter stays
  /// @param factor     of the peak learning rates
  /// @param gradient_scale  multiplies the gradients first (mean over tokens, clipping)
  void step(const std::vector<at::Tensor>& gradients, double factor, double gradient_scale);

  /// Steps made so far.
  int64_t updates() const { return updates_; }

  /// Moments under "<name>.first", "<name>.second" and "<name>.momentum".
  NamedTensors state() const;
  /// @throws Error(data) naming a tensor that is missing or of another shape
  void restore(const StateTensors& state, int64_t updates);

 private:
  struct Slot {
    size_t index;  // in model order
    std::string name;
    OptimizerGroup group;
    bool muon;
    at::Tensor master;
    at::Tensor compute;        // undefined when the model computes with the master itself
    at::Tensor first, second;  // moments; under Muon first is the momentum and second undefined
  };

  void adamw(const Slot& slot, const at::Tensor& gradient, double factor, double gradient_scale) const;

  TrainingSettings settings_;
  at::ScalarType muon_type_;
  std::vector<Slot> slots_;
  int64_t updates_ = 0;
};

}  // namespace xinslm
