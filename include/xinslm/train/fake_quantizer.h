#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

/// Quantisation-aware training: experts, and attention where the settings say so, compute with the numbers that their
/// export will hold, made by the very same codecs, while the float32 masters take the gradients as they are
/// (straight-through; Bengio et al. 2013).
class FakeQuantizer {
 public:
  /// @param masters  float32
  /// @param model    what computes; matrices that are rounded must not share memory with the masters
  FakeQuantizer(const Transformer& masters, const Transformer& model, const QuantizationSettings& settings);

  /// Rounds the model's matrices anew, after the masters changed.
  void refresh() const;

  /// Whether a parameter is rounded.
  static bool rounds(const Parameter& parameter, const QuantizationSettings& settings);

  /// The model as it will be exported, for validation.
  static Transformer rounded(const Transformer& model, const QuantizationSettings& settings);

 private:
  struct Pair {
    Parameter parameter;
    at::Tensor master, compute;
  };
  std::vector<Pair> pairs_;
  QuantizationSettings settings_;
};

}  // namespace xinslm
