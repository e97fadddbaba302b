#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "xinslm/model/kv_cache.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

/// One token of one sequence at a time, on the processor: what Transformer::hidden_states and logits compute with a KV
/// cache, without a tensor or a dispatch on the way. All threads go through the layers together; activations are
/// float32 whatever the type of the weights.
class Decoder {
 public:
  /// Whether the model can be decoded here: its weights are on the processor and its widths are multiples of 16.
  static bool supports(const Transformer& model);

  /// The model must outlive the decoder, and its weights may not be replaced meanwhile.
  explicit Decoder(const Transformer& model);
  ~Decoder();

  /// @param token                one id of the vocabulary; it continues what `cache` holds, and is appended to it
  /// @param num_experts_per_tok  0 = the configured number
  /// @return                     [V] float32 logits, valid until the next step
  const at::Tensor& step(int64_t token, KvCache& cache, int64_t num_experts_per_tok);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace xinslm
