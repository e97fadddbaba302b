#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "eval/doctor/place.h"
#include "xinslm/format/safetensors.h"

namespace xinslm::doctor {

/// What a small model does in a place, from the same weights and text everywhere.
struct ModelRun {
  std::vector<double> losses;   ///< nats a token of ten training steps
  NamedTensors trained;         ///< parameters after them, float32 on the processor
  NamedTensors gradients;       ///< of the first step by parameter, float32 on the processor
  std::vector<int64_t> tokens;  ///< what a trained model goes on with greedily
  std::vector<double> margins;  ///< by how much each of these was the most probable, in logits
  at::Tensor packed_logits;     ///< [T, V] of the untrained model with packed experts and 8-bit matrices
  at::Tensor exact_logits;      ///< of the same weights decoded, in float32
};

/// @param type     of the products; the weights are kept in float32
/// @param trained  parameters to generate with; empty = those of this run, which after ten steps of an optimiser that
///                 divides by the gradient's size have drifted from those of other places
ModelRun run_model(const Place& place, at::ScalarType type, const NamedTensors& trained = {});

}  // namespace xinslm::doctor
