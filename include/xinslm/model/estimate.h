#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/config/settings.h"

namespace xinslm {

/// Bytes of a model's weights by how they are kept. Nothing here allocates anything.
struct WeightMemory {
  int64_t float32 = 0;
  int64_t bfloat16 = 0;  ///< every parameter, as in a bfloat16 checkpoint
  int64_t mxfp4 = 0;     ///< the experts' matrices in blocks of 32 with a scale byte (OCP MX v1.0), the rest bfloat16
};
WeightMemory weight_memory(const ModelConfig& config);

/// Bytes of the KV cache of `batch` sequences of `length` tokens: full layers hold every token, windowed ones at most
/// two windows.
int64_t kv_cache_memory(const ModelConfig& config, int64_t batch, int64_t length, at::ScalarType kv_type);

/// Bytes of a training run at its largest, by what they are for.
struct TrainingMemory {
  int64_t weights = 0;      ///< float32 masters and, computing in bfloat16, the copy that is computed with
  int64_t gradients = 0;    ///< of one batch, and their float32 sum where batches are accumulated
  int64_t optimizer = 0;    ///< two moments a parameter; Muon keeps one for matrices
  int64_t average = 0;      ///< moving average of the weights
  int64_t activations = 0;  ///< what the backward pass needs of the forward pass, and the logits of one chunk
  int64_t program = 0;      ///< LibTorch, tokenizer, buffers
  int64_t total() const;
};

// Bytes beyond int64_t stay at the largest number there is (core/size.h), which no machine has.

/// Counted from the shapes; compute_type "auto" counts as float32, which needs no less.
TrainingMemory training_memory(const Settings& settings);

/// Memory that runs may use: device.memory_limit, or what the device has (core/device_memory.h).
int64_t usable_memory(const Settings& settings);

/// A change of settings after which a run fits into memory.
struct MemoryRemedy {
  std::string change;  ///< "training.gradient_checkpointing=true", as --set takes it; or "--model-variant light"
  int64_t needed = 0;  ///< bytes of the run after it, by the same estimate
};

/// At most three changes, each sufficient by itself.
std::vector<MemoryRemedy> memory_remedies(const Settings& settings, int64_t available);

/// Refuses a run that cannot fit. @throws Error(usage) with what is needed, what there is, and what would make it fit
void require_training_memory(const Settings& settings);

/// "12.8 GiB", "310 MiB"; "8 EiB or more" for the largest number there is
std::string memory_text(int64_t bytes);

}  // namespace xinslm
