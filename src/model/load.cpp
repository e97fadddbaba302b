#include "xinslm/model/load.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/estimate.h"
#include "xinslm/model/packed_names.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

void check_float(const std::string& name, const at::Tensor& tensor) {
  if (at::isFloatingType(tensor.scalar_type())) return;
  data_error("tensor ", name, " is of type ", tensor.scalar_type(), ", expected floating point");
}

/// The tensors `prefix`_blocks and `prefix`_scales as one.
c10::intrusive_ptr<Mxfp4Tensor> packed_tensor(const Tensors& parts, const std::string& prefix) {
  const auto blocks = parts.find(cat(prefix, blocks_suffix)), scales = parts.find(cat(prefix, scales_suffix));
  for (const auto& [found, end] : {std::pair{blocks, blocks_suffix}, std::pair{scales, scales_suffix}}) {
    if (found == parts.end()) data_error("tensor ", prefix, end, " is missing");
  }
  return Mxfp4Tensor::from_checkpoint(blocks->second.flatten(-2).unflatten(-1, {-1, 16}), scales->second, prefix);
}

/// A dense matrix in 8-bit blocks, if the file has it so.
void set_dense(Transformer& model, const std::string& name, Tensors& left) {
  const auto values = left.extract(cat(name, q8_suffix)), scales = left.extract(cat(name, q8_scales_suffix));
  if (!values && !scales) return;
  if (!values || !scales) data_error("tensor ", name, values ? q8_scales_suffix : q8_suffix, " is missing");
  model.set_packed(name, Q8Tensor::from_checkpoint(values.mapped(), scales.mapped(), name));
}

/// A layer's two matrices of experts in MXFP4, if the file has them so, under the names of gpt-oss' checkpoints.
void set_experts(Transformer& model, int64_t layer, const std::vector<std::string>& names, Tensors& left) {
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    for (const auto suffix : {blocks_suffix, scales_suffix}) parts.push_back(cat(name, suffix));
  }
  if (std::ranges::none_of(parts, [&](const std::string& part) { return left.contains(part); })) return;
  model.set_packed_experts(layer, packed_tensor(left, names.at(0)), packed_tensor(left, names.at(1)));
  for (const std::string& part : parts) left.erase(part);
}

/// Bytes that the weights take on a device where floating ones get a type.
int64_t bytes_as(const NamedTensors& weights, at::ScalarType type) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : weights) {
    const bool changes = at::isFloatingType(tensor.scalar_type()) && !name.ends_with(scales_suffix);
    bytes += tensor.numel() * static_cast<int64_t>(changes ? c10::elementSize(type) : tensor.element_size());
  }
  return bytes;
}

/// On the processor weights stay in files' maps and need not fit; a GPU holds them all.
void require_room(const NamedTensors& weights, at::Device device, at::ScalarType type) {
  const int64_t bytes = bytes_as(weights, type), available = recommended_memory(device);
  if (device.is_cpu() || bytes <= available) return;
  usage_error("the weights take ", memory_text(bytes), " in ", compute_type_name(type), ", but the GPU may hold ",
              memory_text(available),
              "; use --device cpu, pack the model (xinslm quantize), or let the GPU have more: ",
              "sudo sysctl iogpu.wired_limit_mb=N");
}

void set_all(Transformer& model, const NamedTensors& weights) {
  Tensors left(weights.begin(), weights.end());
  if (model.config().tie_word_embeddings) left.erase("lm_head.weight");  // some tools store the tied head as well
  std::map<int64_t, std::vector<std::string>> experts;                   // names by layer
  for (const Parameter& parameter : model.table()) {
    const std::string& name = parameter.name;
    if (const auto found = left.extract(name)) {
      check_float(name, found.mapped());
      model.set_parameter(name, found.mapped());
    }
    if (parameter.packed_as() == PackedAs::q8) set_dense(model, name, left);
    if (parameter.packed_as() == PackedAs::mxfp4) experts[parameter.layer].push_back(name);
  }
  for (const auto& [layer, names] : experts) set_experts(model, layer, names, left);
  if (!left.empty()) data_error("tensor ", left.begin()->first, " does not belong to this model");
}

}  // namespace

Transformer load_model(const fs::path& folder, at::Device device, at::ScalarType type) {
  Transformer model(read_model_config(folder), device, type);
  try {
    const NamedTensors weights = read_weights(folder);
    require_room(weights, device, type);
    set_all(model, weights);
  } catch (const Error& problem) {
    if (problem.kind() != ErrorKind::data) throw;
    const std::string where = folder.string();
    const std::string text = problem.what();
    if (text.starts_with(where)) throw;  // already says which file
    data_error(where, ": ", text);
  }
  const auto shapes = parameter_shapes(model.config());
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto& [name, shape] = shapes[i];
    if (model.is_packed(name)) continue;
    if (model.parameters()[i].second.defined()) continue;
    data_error(folder.string(), ": tensor ", name, " ", at::IntArrayRef(shape), " is missing");
  }
  return model;
}

void save_model(const fs::path& folder, const Transformer& model, const Tokenizer& tokenizer,
                const GenerationSettings& generation) {
  write_model_config(folder, model.config(), compute_type_name(model.type()));
  write_generation_config(folder, model.config(), generation);
  write_weights(folder, model.parameters());
  tokenizer.save(folder);
}

}  // namespace xinslm
