#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "xinslm/model/parameter.h"
#include "xinslm/model/weights.h"

namespace xinslm {

/// A parameter and its place in the weights given.
struct ParameterSlot : Parameter {
  at::Tensor* tensor = nullptr;
  Projection* projection = nullptr;                    ///< the same of a matrix that may be in 8-bit blocks, else null
  std::shared_ptr<ExpertMatrices>* experts = nullptr;  ///< what takes its place in MXFP4, else null
};

/// The parameters of the table with their places; resizes weights.layers.
std::vector<ParameterSlot> parameter_layout(const ModelConfig& config, ModelWeights& weights);

/// Those of one layer.
std::vector<ParameterSlot> layer_layout(const ModelConfig& config, int64_t layer, LayerWeights& weights);

}  // namespace xinslm
