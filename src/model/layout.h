#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/model/weights.h"

namespace xinslm {

enum class ParameterKind {
  embedding,  ///< looked up, not multiplied
  matrix,
  residual,  ///< a matrix whose result is added to the residual stream
  router,    ///< a matrix, kept in float32
  gain,
  offset,  ///< biases and sinks
};

/// One parameter: its Hugging Face name, where it belongs and what it is.
struct ParameterSlot {
  std::string name;
  std::vector<int64_t> shape;
  ParameterKind kind;
  bool expert;                       ///< one slice of the first dimension for each expert
  at::Tensor* tensor;                ///< its place in the ModelWeights given
  Projection* projection = nullptr;  ///< the same of a dense matrix, which may have other forms; null for all else

  /// Matrices are kept in the model's type, everything else in float32.
  bool in_model_type() const {
    return kind == ParameterKind::embedding || kind == ParameterKind::matrix || kind == ParameterKind::residual;
  }
  /// Whether tokens read single rows of it only: an embedding that is not the head as well.
  bool only_looked_up(const ModelConfig& config) const {
    return kind == ParameterKind::embedding && !config.tie_word_embeddings;
  }
  int64_t numel() const;
};

/// Every parameter the configuration has, in model order; resizes weights.layers. The one list that names, shapes,
/// counts, initialisation and files are made from.
std::vector<ParameterSlot> parameter_layout(const ModelConfig& config, ModelWeights& weights);

}  // namespace xinslm
