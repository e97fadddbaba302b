#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace xinslm {

/// Tensors of one layer; those the configuration switches off are undefined. Shapes: parameter_shapes().
struct LayerWeights {
  at::Tensor input_norm;                              // [H]
  at::Tensor query, query_bias;                       // [Q * D, H], [Q * D]
  at::Tensor key, key_bias;                           // [K * D, H], [K * D]
  at::Tensor value, value_bias;                       // [K * D, H], [K * D]
  at::Tensor query_norm, key_norm;                    // [D]
  at::Tensor sinks;                                   // [Q]
  at::Tensor output, output_bias;                     // [H, Q * D], [H]
  at::Tensor mlp_norm;                                // [H]
  at::Tensor router, router_bias;                     // [E, H], [E]; undefined in a dense layer
  at::Tensor gate_up, gate_up_bias, down, down_bias;  // experts: [E, H, 2I], [E, 2I], [E, I, H], [E, H];
                                                      // dense of width W: [2W, H], [2W], [H, W], [H]
};

struct ModelWeights {
  at::Tensor embedding;  // [V, H]
  std::vector<LayerWeights> layers;
  at::Tensor norm;  // [H]
  at::Tensor head;  // [V, H], undefined when tied to the embedding
};

}  // namespace xinslm
