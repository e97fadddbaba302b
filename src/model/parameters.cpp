#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "model/initialise.h"
#include "model/layout.h"
#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/machine.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/model/transformer.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

/// Maps of files are read-only.
at::Tensor writable(const at::Tensor& tensor) {
  return is_mapped(tensor) ? tensor.clone() : tensor;
}

void check_sizes(const PackedTensor& tensor, const std::vector<int64_t>& sizes) {
  if (tensor.sizes() == sizes) return;
  data_error("tensor ", tensor.name(), " is ", at::IntArrayRef(tensor.sizes()), ", expected ", at::IntArrayRef(sizes));
}

/// A matrix that changes has no other form any more; one that other copies of the model use is left to them.
void forget_compact(const ParameterSlot& slot) {
  if (slot.projection != nullptr) slot.projection->compact = std::make_shared<CompactBfloat16>();
}

/// @return whether products read the matrix in compact form from now on
bool fill_compact(const ParameterSlot& slot) {
  const at::Tensor& tensor = *slot.tensor;
  const bool may = slot.projection != nullptr && slot.projection->compact && tensor.scalar_type() == at::kBFloat16;
  return may && slot.projection->compact->fill(tensor);
}

std::shared_ptr<ExpertMatrices> experts_on(at::Device device, const ExpertMatrices& experts) {
  return std::make_shared<ExpertMatrices>(c10::make_intrusive<Mxfp4Tensor>(experts.source().saved_parts()), device);
}

/// LibTorch's kernels for Apple's GPU count the elements of a gradient in 32 bits.
void check_gradient(at::Device device, const std::string& name, const at::Tensor& tensor) {
  constexpr int64_t most = int64_t{1} << 32;
  if (device.is_cpu() || tensor.numel() < most) return;
  usage_error("tensor ", name, " ", tensor.sizes(), " has ", tensor.numel(), " elements, and a GPU is trusted with ",
              "gradients of fewer than 4,294,967,296; train this model with --device cpu");
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, at::Device device, at::ScalarType type)
    : config_(config), device_(device), type_(type) {
  const bool half = type == at::kBFloat16 || (type == at::kHalf && !device.is_cpu());
  if (type != at::kFloat && !half) {
    usage_error("a model on ", device, " computes in float32", device.is_cpu() ? "" : ", float16",
                " or bfloat16, not in ", type);
  }
  validate(config, "model");
  for (const ParameterSlot& slot : parameter_layout(config_, weights_)) {
    table_.push_back(slot);
    parameters_.emplace_back(slot.name, at::Tensor());
    forget_compact(slot);
  }
}

Transformer::Transformer(const ModelConfig& config, at::Device device, at::ScalarType type, uint64_t seed)
    : Transformer(config, device, type) {
  for (size_t i = 0; i < table_.size(); ++i) {
    const at::ScalarType kept = table_[i].in_model_type() ? type_ : at::kFloat;
    parameters_[i].second = initial_value(config_, table_[i], seed, i).to(device_, kept);
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
    parameter = moved_to(device_, value.detach(), slots[i].in_model_type() ? type_ : at::kFloat);
    if (learned) parameter = writable(parameter).requires_grad_(true);
    *slots[i].tensor = parameter;
    forget_compact(slots[i]);
    return;
  }
  data_error("tensor ", name, " does not belong to this model");
}

Transformer Transformer::converted(const ModelConfig& config, at::Device device, at::ScalarType type) const {
  Transformer model(config, device, type);
  if (!std::ranges::equal(table_, model.table_, {}, &Parameter::name, &Parameter::name)) {
    data_error("a model with these parameters cannot become one of another architecture");
  }
  ModelWeights weights = weights_;
  const auto from = parameter_layout(config_, weights), to = parameter_layout(config, model.weights_);
  for (size_t i = 0; i < from.size(); ++i) {
    const ParameterSlot& slot = from[i];
    model.table_[i].trained = table_[i].trained;
    if (slot.tensor->defined()) model.set_parameter(slot.name, *slot.tensor);
    if (slot.projection != nullptr && slot.projection->packed) model.set_packed(slot.name, slot.projection->packed);
    if (slot.experts == nullptr || !*slot.experts) continue;
    *to[i].experts = device == device_ ? *slot.experts : experts_on(device, **slot.experts);
    model.packed_.insert(slot.name);
  }
  return model;
}

void Transformer::set_packed_experts(int64_t layer, const c10::intrusive_ptr<Mxfp4Tensor>& gate_up,
                                     const c10::intrusive_ptr<Mxfp4Tensor>& down) {
  if (layer < 0 || layer >= config_.num_hidden_layers || !config_.is_moe(layer)) {
    usage_error("layer ", layer, " has no experts to pack");
  }
  const int64_t experts = config_.num_experts, hidden = config_.hidden_size, width = config_.intermediate_size;
  check_sizes(*gate_up, {experts, 2 * width, hidden});
  check_sizes(*down, {experts, hidden, width});
  LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  weights.gate_up_packed = std::make_shared<ExpertMatrices>(gate_up, device_);
  weights.down_packed = std::make_shared<ExpertMatrices>(down, device_);
  for (const ParameterSlot& slot : layer_layout(config_, layer, weights)) {
    if (slot.experts != nullptr) packed_.insert(slot.name);
  }
}

void Transformer::set_packed(const std::string& name, const c10::intrusive_ptr<Q8Tensor>& value) {
  for (const ParameterSlot& slot : parameter_layout(config_, weights_)) {
    if (slot.name != name || slot.projection == nullptr) continue;
    check_sizes(*value, slot.shape);
    slot.projection->packed = slot.only_looked_up(config_) ? value->to(device_) : value->for_products(device_);
    packed_.insert(name);
    return;
  }
  data_error("tensor ", name, " cannot be in 8-bit blocks: this model has no such matrix");
}

bool Transformer::move_next_matrices() const {
  constexpr size_t least = size_t{64} << 10, enough = size_t{8} << 20;  // bytes
  ModelWeights weights = weights_;
  size_t moved = 0;
  for (const ParameterSlot& slot : parameter_layout(config_, weights)) {
    const at::Tensor& tensor = *slot.tensor;
    const bool is_compact = slot.projection != nullptr && slot.projection->is_compact();
    if (is_compact || slot.only_looked_up(config_) || !is_mapped(tensor) || tensor.nbytes() < least) continue;
    if (moved > 0 && moved + tensor.nbytes() > enough) break;
    if (available_memory() < 2 * static_cast<int64_t>(tensor.nbytes())) break;
    const at::Tensor mapped = tensor.detach();
    if (!fill_compact(slot)) tensor.set_data(copy_to_huge_pages(mapped));
    forget_pages(mapped);
    moved += mapped.nbytes();
  }
  return moved > 0;
}

void Transformer::train_only(const std::function<bool(const Parameter&)>& wanted) {
  for (Parameter& parameter : table_) parameter.trained = wanted(parameter);
}

void Transformer::require_grad(bool on) {
  for (size_t i = 0; i < table_.size(); ++i) {
    auto& [name, tensor] = parameters_[i];
    if (!tensor.defined()) continue;
    const bool learned = on && table_[i].trained;
    if (learned) check_gradient(device_, name, tensor);
    if (learned) tensor = writable(tensor);
    tensor.requires_grad_(learned);
  }
  bind_weights();
  if (!on) return;
  for (const ParameterSlot& slot : parameter_layout(config_, weights_)) forget_compact(slot);
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const Parameter& parameter : parameter_table(config)) shapes.emplace_back(parameter.name, parameter.shape);
  return shapes;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const Parameter& parameter : parameter_table(config)) {
    const int64_t count = parameter.numel();
    counts.total += count;
    if (parameter.role == ParameterRole::expert) counts.expert += count;
    if (parameter.only_looked_up(config)) continue;
    counts.active += parameter.per_expert ? count / config.num_experts * config.num_experts_per_tok : count;
  }
  return counts;
}

at::ScalarType default_kv_type(const Transformer& model) {
  const bool fits = model.config().head_dim % quant_block == 0;
  return model.has_packed() && model.device().is_cpu() && fits ? at::kChar : model.type();
}

int64_t bytes_read_per_token(const Transformer& model, int64_t num_experts_per_tok, int64_t length,
                             at::ScalarType kv_type) {
  const ModelConfig& config = model.config();
  const int64_t experts = num_experts_per_tok > 0 ? num_experts_per_tok : config.num_experts_per_tok;
  ModelWeights weights = model.weights();
  int64_t bytes = 0;
  for (const ParameterSlot& slot : parameter_layout(config, weights)) {
    if (slot.only_looked_up(config)) continue;
    int64_t own = slot.tensor->defined() ? static_cast<int64_t>(slot.tensor->nbytes()) : 0;
    if (slot.projection != nullptr && slot.projection->packed) own = slot.projection->packed->bytes();
    if (slot.projection != nullptr && slot.projection->is_compact()) own = slot.projection->compact->bytes();
    if (slot.experts != nullptr && *slot.experts) own = (*slot.experts)->bytes();
    bytes += slot.per_expert ? own / config.num_experts * experts : own;
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const int64_t window = config.window(layer), seen = window > 0 ? std::min(window, length) : length;
    bytes += 2 * seen * config.num_key_value_heads * kv_row_bytes(config.head_dim, kv_type);
  }
  return bytes;
}

}  // namespace xinslm
