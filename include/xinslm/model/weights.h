#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "xinslm/quant/compact_bfloat16.h"
#include "xinslm/quant/expert_matrices.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// A matrix [rows, in] and the bias of its rows, or none. Where `packed` is set it holds the weights and `weight` is
/// undefined. Where `compact` is filled it has the same values as `weight` and is what products read.
struct Projection {
  at::Tensor weight;
  c10::intrusive_ptr<Q8Tensor> packed;
  std::shared_ptr<CompactBfloat16> compact;  // shared by copies of the model; null for experts and the router
  at::Tensor bias;

  bool is_compact() const { return compact && !compact->empty(); }

  int64_t rows() const { return packed ? packed->sizes()[0] : weight.size(0); }
  int64_t width() const { return packed ? packed->sizes()[1] : weight.size(1); }
};

/// Tensors of one layer; those the configuration switches off are undefined. Shapes: parameter_shapes().
struct LayerWeights {
  at::Tensor input_norm;            // [H]
  Projection query, key, value;     // [Q * D, H], [K * D, H], [K * D, H]
  at::Tensor query_norm, key_norm;  // [D]
  at::Tensor sinks;                 // [Q]
  Projection output;                // [H, Q * D]
  at::Tensor mlp_norm;              // [H]
  Projection router;                // [E, H]; undefined in a dense layer; never packed
  Projection gate_up, down;         // dense of width W: [2W, H], [H, W]
                                    // experts: [E, H, 2I] with bias [E, 2I], [E, I, H] with bias [E, H]
  std::shared_ptr<ExpertMatrices> gate_up_packed, down_packed;  // experts' in their place: [E, 2I, H], [E, H, I]
};

struct ModelWeights {
  Projection embedding;  // [V, H], without bias
  std::vector<LayerWeights> layers;
  at::Tensor norm;  // [H]
  Projection head;  // [V, H], without bias; undefined when tied to the embedding
};

}  // namespace xinslm
