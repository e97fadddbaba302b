#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/model_config.h"

namespace xinslm {

/// What a parameter is in the model. All else that is said of it follows from this, from its shape and from the layer.
enum class ParameterRole {
  embedding,  ///< looked up; multiplied too when the head is tied to it
  head,
  attention,  ///< matrices of queries, keys, values and of what attention gives
  router,
  expert,  ///< matrices of all experts of a layer
  dense,   ///< matrices of a layer without experts
  gain,
  bias,
  sink,
};

/// How a parameter is optimised.
enum class OptimizerGroup {
  matrix,  ///< Muon where it is asked for, else AdamW; weight decay
  table,   ///< AdamW, weight decay
  vector,  ///< AdamW, no weight decay
};

/// What may take the place of a parameter's numbers.
enum class PackedAs {
  none,
  mxfp4,  ///< 4-bit blocks (quant/mxfp4.h)
  q8,     ///< 8-bit blocks (quant/q8.h)
};

/// What is said of one parameter.
struct Parameter {
  std::string name;  ///< the Hugging Face one, under which model files hold it
  std::vector<int64_t> shape;
  ParameterRole role;
  int64_t layer = -1;       ///< that it belongs to; -1 for those before and after the layers
  bool per_expert = false;  ///< one slice of the first dimension for each expert
  bool residual = false;    ///< a matrix whose result is added to the residual stream
  bool trained = true;      ///< has gradients, moments and an average; see Transformer::train_only

  OptimizerGroup group() const;
  PackedAs packed_as() const;
  /// Kept in the model's type, as matrices are; everything else and the router in float32.
  bool in_model_type() const;
  /// Whether tokens read single rows of it only: an embedding that is not the head as well.
  bool only_looked_up(const ModelConfig& config) const;
  int64_t numel() const;
};

/// Every parameter that the configuration has, in model order; model files hold exactly these. The one list that names,
/// shapes, counts, first values, optimisers, packed forms and files are made from (src/model/layout.cpp).
std::vector<Parameter> parameter_table(const ModelConfig& config);

}  // namespace xinslm
