#include "xinslm/model/load.h"

#include <ATen/ATen.h>

#include <map>
#include <string>

#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/estimate.h"
#include "xinslm/model/packed_names.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

void check_float(const std::string& name, const at::Tensor& tensor) {
  if (at::isFloatingType(tensor.scalar_type())) return;
  data_error("tensor ", name, " is of type ", tensor.scalar_type(), ", expected floating point");
}

/// The tensors `prefix`_blocks and `prefix`_scales as one.
c10::intrusive_ptr<Mxfp4Tensor> packed_tensor(const std::map<std::string, at::Tensor>& parts,
                                              const std::string& prefix) {
  const auto blocks = parts.find(cat(prefix, blocks_suffix)), scales = parts.find(cat(prefix, scales_suffix));
  for (const auto& [found, end] : {std::pair{blocks, blocks_suffix}, std::pair{scales, scales_suffix}}) {
    if (found == parts.end()) data_error("tensor ", prefix, end, " is missing");
  }
  return Mxfp4Tensor::from_checkpoint(blocks->second.flatten(-2).unflatten(-1, {-1, 16}), scales->second, prefix);
}

/// Dense matrices in 8-bit blocks; `parts` loses what belongs to them.
void set_dense(Transformer& model, std::map<std::string, at::Tensor>& parts) {
  for (auto part = parts.begin(); part != parts.end();) {
    if (!part->first.ends_with(q8_suffix)) {
      ++part;
      continue;
    }
    const std::string name = part->first.substr(0, part->first.size() - q8_suffix.size());
    const auto scales = parts.find(cat(name, q8_scales_suffix));
    if (scales == parts.end()) data_error("tensor ", name, q8_scales_suffix, " is missing");
    model.set_packed(name, Q8Tensor::from_checkpoint(part->second, scales->second, name));
    parts.erase(scales);
    part = parts.erase(part);
  }
}

/// Experts in MXFP4, under the names of gpt-oss' checkpoints.
void set_experts(Transformer& model, const std::map<std::string, at::Tensor>& parts) {
  if (parts.empty()) return;
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    if (!model.config().is_moe(layer)) continue;
    const std::string prefix = cat("model.layers.", layer, ".mlp.experts.");
    model.set_packed_experts(layer, packed_tensor(parts, prefix + "gate_up_proj"),
                             packed_tensor(parts, prefix + "down_proj"));
  }
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
  const bool tied = model.config().tie_word_embeddings;
  std::map<std::string, at::Tensor> packed;
  for (const auto& [name, tensor] : weights) {
    if (name.ends_with(blocks_suffix) || name.ends_with(scales_suffix) || name.ends_with(q8_suffix)) {
      packed.emplace(name, tensor);
      continue;
    }
    check_float(name, tensor);
    if (tied && name == "lm_head.weight") continue;  // some tools store the tied head as well
    model.set_parameter(name, tensor);
  }
  set_dense(model, packed);
  set_experts(model, packed);
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
