#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/format/safetensors.h"
#include "xinslm/model/transformer.h"
#include "xinslm/train/state_tensors.h"

namespace xinslm {

/// Exponential moving average of the weights that are trained, in float32. The decay rises to its full value over the
/// first updates, min(decay, (1 + n) / (10 + n)), so the random start is soon forgotten.
class Ema {
 public:
  static constexpr const char* suffix = ".average";  ///< of the names in state()

  Ema(const Transformer& masters, double decay);

  /// After optimiser step n = 1, 2, ...
  void update(int64_t n);

  /// The averages, and the weights that are not trained, as a model that computes in `type`. In float32 it shares their
  /// memory.
  Transformer model(at::ScalarType type) const;

  /// The averages under their names and the suffix.
  NamedTensors state() const;
  /// @throws Error(data) naming a tensor that is missing or of another shape
  void restore(const StateTensors& state);

 private:
  struct Average {
    std::string name;
    at::Tensor master, average;
  };

  Transformer masters_;  // shares the tensors of the one given
  std::vector<Average> averages_;
  double decay_;
};

}  // namespace xinslm
