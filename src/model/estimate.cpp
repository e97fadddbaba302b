#include "xinslm/model/estimate.h"

#include <ATen/Context.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "xinslm/core/device_memory.h"
#include "xinslm/core/size.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/model/parameter.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr int64_t loss_chunk = 512;                    // tokens whose logits are held at a time
constexpr int64_t program_bytes = int64_t{300} << 20;  // resident before a model is made

/// @param shape  [E, in, rows]
int64_t mxfp4_bytes(const std::vector<int64_t>& shape) {
  return shape[0] * shape[2] * ((shape[1] + quant_block - 1) / quant_block) * Mxfp4Format::block_bytes;
}

/// Experts that a token visits at most in training.
int64_t chosen_experts(const ModelConfig& config) {
  const int64_t trained = config.num_experts_per_tok;
  return config.elastic_top_k ? std::min(2 * trained, config.num_experts) : trained;
}

/// Elements a token that one layer keeps for its backward pass.
int64_t kept_elements(const ModelConfig& config, int64_t layer) {
  const int64_t hidden = config.hidden_size;
  const int64_t queries = config.num_attention_heads * config.head_dim;
  const int64_t keys = config.num_key_value_heads * config.head_dim;
  const int64_t residual_and_normed = 4 * hidden;
  const int64_t attention = 3 * queries + 2 * keys;  // query, result, its copy for the projection; key, value
  const int64_t common = residual_and_normed + attention;
  if (!config.is_moe(layer)) return common + 3 * config.dense_width();                 // gate and linear, product
  return common + 2 * hidden + 2 * chosen_experts(config) * config.intermediate_size;  // the router's float32 input
}

/// Elements a token that the experts' backward pass holds for a moment: both gradients, the product, input and output.
int64_t moment_elements(const ModelConfig& config, int64_t layer) {
  if (!config.is_moe(layer)) return 3 * config.dense_width() + 2 * config.hidden_size;
  return chosen_experts(config) * (3 * config.intermediate_size + 2 * config.hidden_size);
}

int64_t activation_memory(const Settings& settings, int64_t element_bytes) {
  const ModelConfig& config = settings.model;
  const Size tokens = Size(settings.training.per_device_train_batch_size) * settings.training.max_seq_length;
  int64_t all = 0, largest = 0, moment = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    all += kept_elements(config, layer);
    largest = std::max(largest, kept_elements(config, layer));
    moment = std::max(moment, kept_elements(config, layer) + moment_elements(config, layer));
  }
  if (settings.training.gradient_checkpointing) all = config.num_hidden_layers * config.hidden_size + largest;
  const int64_t ends = 4 * config.hidden_size;  // embedded input, last hidden states and their gradients
  const Size logits = Size(std::min(tokens.count(), loss_chunk)) * config.vocab_size * (element_bytes + 4);
  return (tokens * (all + moment + ends) * element_bytes + logits).count();
}

/// Bytes of moments for each number of a parameter.
int64_t moment_bytes(const Parameter& parameter, const std::string& optimizer) {
  return optimizer == "muon" && parameter.group() == OptimizerGroup::matrix ? 4 : 8;
}

}  // namespace

WeightMemory weight_memory(const ModelConfig& config) {
  WeightMemory memory;
  for (const Parameter& parameter : parameter_table(config)) {
    const int64_t count = parameter.numel();
    memory.float32 += 4 * count;
    memory.bfloat16 += 2 * count;
    memory.mxfp4 += parameter.packed_as() == PackedAs::mxfp4 ? mxfp4_bytes(parameter.shape) : 2 * count;
  }
  return memory;
}

int64_t kv_cache_memory(const ModelConfig& config, int64_t batch, int64_t length, at::ScalarType kv_type) {
  Size tokens;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const int64_t window = config.window(layer);
    tokens += window == 0 ? length : std::min(length, 2 * window);
  }
  return (Size(2) * batch * config.num_key_value_heads * tokens * kv_row_bytes(config.head_dim, kv_type)).count();
}

TrainingMemory training_memory(const Settings& settings) {
  const TrainingSettings& training = settings.training;
  const bool half = training.compute_type == "bfloat16" || training.compute_type == "float16";
  const bool accumulated = training.gradient_accumulation_steps > 1;
  TrainingMemory memory;
  for (const Parameter& parameter : parameter_table(settings.model)) {
    const int64_t count = parameter.numel();
    memory.weights += (half ? 6 : 4) * count;
    if (!parameter.trained) continue;
    memory.gradients += ((half ? 2 : 4) + (accumulated ? 4 : 0)) * count;
    memory.optimizer += moment_bytes(parameter, training.optimizer) * count;
    memory.average += training.ema_decay > 0 ? 4 * count : 0;
  }
  memory.activations = activation_memory(settings, half ? 2 : 4);
  memory.program = program_bytes;
  return memory;
}

int64_t usable_memory(const Settings& settings) {
  if (settings.device.memory_limit > 0) return static_cast<int64_t>(settings.device.memory_limit * (int64_t{1} << 30));
  const bool on_gpu = at::hasMPS() && settings.device.device != "cpu";
  return recommended_memory(on_gpu ? at::kMPS : at::kCPU);
}

int64_t TrainingMemory::total() const {
  return (Size(weights) + gradients + optimizer + average + activations + program).count();
}

std::string memory_text(int64_t bytes) {
  if (bytes == Size::largest) return "8 EiB or more";
  const bool large = bytes >= int64_t{1} << 30;
  std::ostringstream text;
  const double amount = static_cast<double>(bytes) / static_cast<double>(int64_t{1} << (large ? 30 : 20));
  text << std::fixed << std::setprecision(amount < 100 ? 1 : 0) << amount << (large ? " GiB" : " MiB");
  return text.str();
}

}  // namespace xinslm
