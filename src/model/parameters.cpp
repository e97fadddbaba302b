#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "model/initialise.h"
#include "model/layout.h"
#include "xinslm/core/error.h"
#include "xinslm/model/transformer.h"

namespace xinslm {
namespace {

/// Storage made from foreign memory cannot be resized; here that memory is a read-only map of a file.
at::Tensor writable(const at::Tensor& tensor) {
  return tensor.has_storage() && !tensor.storage().resizable() ? tensor.clone() : tensor;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, at::Device device, at::ScalarType type)
    : config_(config), device_(device), type_(type) {
  const bool half = type == at::kBFloat16 || (type == at::kHalf && !device.is_cpu());
  if (type != at::kFloat && !half) {
    usage_error("a model on ", device, " computes in float32 or bfloat16, not in ", type);
  }
  validate(config, "model");
  for (const ParameterSlot& slot : parameter_layout(config_, weights_))
    parameters_.emplace_back(slot.name, at::Tensor());
}

Transformer::Transformer(const ModelConfig& config, at::Device device, at::ScalarType type, uint64_t seed)
    : Transformer(config, device, type) {
  const auto slots = parameter_layout(config_, weights_);
  for (size_t i = 0; i < slots.size(); ++i) {
    const at::ScalarType kept = slots[i].in_model_type() ? type_ : at::kFloat;
    parameters_[i].second = initial_value(config_, slots[i], seed, i).to(device_, kept);
  }
  bind_weights();
}

void Transformer::bind_weights() {
  const auto slots = parameter_layout(config_, weights_);
  for (size_t i = 0; i < slots.size(); ++i) *slots[i].tensor = parameters_[i].second;
}

void Transformer::set_parameter(const std::string& name, const at::Tensor& value) {
  const auto slots = parameter_layout(config_, weights_);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].name != name) continue;
    if (value.sizes() != at::IntArrayRef(slots[i].shape)) {
      data_error("tensor ", name, " is ", value.sizes(), ", expected ", at::IntArrayRef(slots[i].shape));
    }
    at::Tensor& parameter = parameters_[i].second;
    const bool learned = parameter.defined() && parameter.requires_grad();
    parameter = value.detach().to(device_, slots[i].in_model_type() ? type_ : at::kFloat);
    if (learned) parameter = writable(parameter).requires_grad_(true);
    *slots[i].tensor = parameter;
    return;
  }
  data_error("tensor ", name, " does not belong to this model");
}

void Transformer::require_grad(bool on) {
  for (auto& [name, tensor] : parameters_) {
    if (!tensor.defined()) continue;
    if (on) tensor = writable(tensor);
    tensor.requires_grad_(on);
  }
  bind_weights();
}

const at::Tensor& Transformer::head_weight() const {
  return config_.tie_word_embeddings ? weights_.embedding : weights_.head;
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const ModelConfig& config) {
  ModelWeights unused;
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const ParameterSlot& slot : parameter_layout(config, unused)) shapes.emplace_back(slot.name, slot.shape);
  return shapes;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  ModelWeights unused;
  ParameterCounts counts;
  for (const ParameterSlot& slot : parameter_layout(config, unused)) {
    const int64_t count = slot.numel();
    counts.total += count;
    if (slot.expert && slot.kind != ParameterKind::offset) counts.expert += count;
    const bool only_looked_up = slot.kind == ParameterKind::embedding && !config.tie_word_embeddings;
    if (only_looked_up) continue;
    counts.active += slot.expert ? count / config.num_experts * config.num_experts_per_tok : count;
  }
  return counts;
}

}  // namespace xinslm
