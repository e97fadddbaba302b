#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "xinslm/model/transformer.h"

namespace xinslm {

/// The gradients of one optimiser step. Over a single batch they are the model's own; over several, bfloat16 ones are
/// summed in float32, since eight bits would lose the small ones.
class Gradients {
 public:
  /// @param model    with require_grad(true)
  /// @param batches  behind one step
  Gradients(const Transformer& model, int64_t batches);

  /// Takes over what a backward pass left in the model. Called after each.
  void collect();

  /// One per parameter in model order; undefined where no gradient arrived, as in parameters that are not trained.
  const std::vector<at::Tensor>& tensors() const { return sums_; }

  /// Square root of the sum of all squares; not finite when one gradient is not.
  double norm() const;

  /// Gives the memory back. Called before the next step.
  void release();

 private:
  std::vector<at::Tensor> parameters_, sums_;
  bool single_;
};

}  // namespace xinslm
