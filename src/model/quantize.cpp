#include "xinslm/model/quantize.h"

#include <ATen/ATen.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "model/layout.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/packed_names.h"
#include "xinslm/quant/formats.h"
#include "xinslm/quant/q8.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Whoever is told of each tensor wants no more.
struct Stopped {};

using Report = std::function<void(const QuantizedTensorReport&)>;

/// A tensor in its packed form: what is stored as two tensors.
struct Encoded {
  at::Tensor values, scales;
};

/// Encodes one tensor after another when the file is written. Values and scales of a tensor are asked for one after the
/// other, so only the last tensor is kept.
class Encoder {
 public:
  Encoder(QuantizeOptions options, Report report) : options_(options), report_(std::move(report)) {}

  const Encoded& encode(const std::string& name, const at::Tensor& weight) {
    if (name == name_) return encoded_;
    QuantizedTensorReport report{name, static_cast<int64_t>(weight.nbytes()), 0, {}};
    encoded_ = is_expert_matrix(name) ? experts(name, weight, report.error) : dense(name, weight, report.error);
    report.bytes_after = static_cast<int64_t>(encoded_.values.nbytes() + encoded_.scales.nbytes());
    name_ = name;
    // Asked for anew where a shard ends between values and scales.
    if (reported_.insert(name).second) report_(report);
    return encoded_;
  }

 private:
  Encoded experts(const std::string& name, const at::Tensor& weight, QuantError& error) const {
    const int64_t experts = weight.size(0), in = weight.size(1), rows = weight.size(2), blocks = in / quant_block;
    Encoded encoded{at::empty({experts, rows, blocks, quant_block / 2}, at::kByte),
                    at::empty({experts, rows, blocks}, at::kByte)};
    for (int64_t expert = 0; expert < experts; ++expert) {
      const at::Tensor matrix = weight[expert].t().to(at::kFloat).contiguous();
      const Mxfp4Blocks one = quantize_mxfp4(matrix, options_.rule, options_.group_size, cat(name, "[", expert, "]"));
      encoded.values[expert].copy_(one.blocks);
      encoded.scales[expert].copy_(one.scales);
      add(error, quant_error(matrix, dequantize_mxfp4(one.blocks, one.scales, at::kFloat)), expert * rows);
    }
    return encoded;
  }

  static Encoded dense(const std::string& name, const at::Tensor& weight, QuantError& error) {
    const Q8Blocks blocks = quantize_q8(weight, name);
    error = quant_error(weight, dequantize_q8(blocks.values, blocks.scales, at::kFloat));
    return {blocks.values, blocks.scales};
  }

  static void add(QuantError& sum, const QuantError& part, int64_t first_row) {
    sum.squared_error += part.squared_error;
    sum.squared_sum += part.squared_sum;
    if (part.worst_block <= sum.worst_block) return;
    sum.worst_block = part.worst_block;
    sum.worst_row = first_row + part.worst_row;
    sum.worst_column = part.worst_column;
  }

  QuantizeOptions options_;
  Report report_;
  std::string name_;
  std::set<std::string> reported_;
  Encoded encoded_;
};

/// Names of the model's dense matrices, the router's left out.
std::set<std::string> dense_matrices(const ModelConfig& config) {
  ModelWeights unused;
  std::set<std::string> names;
  for (const ParameterSlot& slot : parameter_layout(config, unused)) {
    if (slot.projection != nullptr) names.insert(slot.name);
  }
  return names;
}

/// What the new file holds, in the order of the old one.
class Plan {
 public:
  Plan(const ModelConfig& config, DenseForm dense, std::shared_ptr<Encoder> encoder)
      : dense_(dense), matrices_(dense_matrices(config)), encoder_(std::move(encoder)) {}

  bool encodes(const std::string& name) const {
    if (is_expert_matrix(name)) return true;
    return (dense_ == DenseForm::q8 && matrices_.contains(name)) ||
           (dense_ == DenseForm::attention && is_attention_matrix(name));
  }

  void add(const std::string& name, const at::Tensor& weight) {
    if (is_expert_matrix(name)) {
      add_experts(name, weight);
    } else if (encodes(name)) {
      add_dense(name, weight);
    } else {
      const bool shortened = dense_ == DenseForm::bfloat16 && matrices_.contains(name);
      const at::ScalarType type = shortened ? at::kBFloat16 : weight.scalar_type();
      sources_.push_back({name, type, weight.sizes().vec(), [=] { return weight.to(type); }});
    }
  }

  TensorSources sources() && { return std::move(sources_); }

 private:
  void add_experts(const std::string& name, const at::Tensor& weight) {
    const int64_t blocks = blocks_of(name, weight, weight.size(1));
    std::vector<int64_t> sizes{weight.size(0), weight.size(2), blocks};
    add_part(name, scales_suffix, weight, at::kByte, sizes, &Encoded::scales);
    sizes.push_back(quant_block / 2);
    add_part(name, blocks_suffix, weight, at::kByte, sizes, &Encoded::values);
  }

  void add_dense(const std::string& name, const at::Tensor& weight) {
    const int64_t blocks = blocks_of(name, weight, weight.size(1));
    add_part(name, q8_suffix, weight, at::kChar, weight.sizes().vec(), &Encoded::values);
    add_part(name, q8_scales_suffix, weight, at::kHalf, {weight.size(0), blocks}, &Encoded::scales);
  }

  void add_part(const std::string& name, std::string_view suffix, const at::Tensor& weight, at::ScalarType type,
                const std::vector<int64_t>& sizes, at::Tensor Encoded::*part) {
    sources_.push_back(
        {cat(name, suffix), type, sizes, [=, encoder = encoder_] { return encoder->encode(name, weight).*part; }});
  }

  static int64_t blocks_of(const std::string& name, const at::Tensor& weight, int64_t in) {
    if (in % quant_block == 0) return in / quant_block;
    usage_error("tensor ", name, " is ", weight.sizes(), ": its ", in, " inputs are no multiple of ", quant_block,
                ", so it has no whole blocks");
  }

  DenseForm dense_;
  std::set<std::string> matrices_;
  std::shared_ptr<Encoder> encoder_;
  TensorSources sources_;
};

/// config.json with what transformers wants to know of the experts; the other files as they are.
void copy_other_files(const fs::path& source, const fs::path& target) {
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    const bool weights = name.starts_with("model") && name.find(".safetensors") != std::string::npos;
    if (entry.is_regular_file() && !weights && name != "config.json") copy_plain_file(entry.path(), target / name);
  }
  copy_plain_file(source / "config.json", target / "config.json");
  mark_packed(target);
}

}  // namespace

bool quantize_model(const fs::path& source, const fs::path& target, const QuantizeOptions& options,
                    const std::function<bool(const QuantizedTensorReport&, double share)>& done) {
  const ModelConfig config = read_model_config(source);
  const NamedTensors weights = read_weights(source);
  if (config.num_experts == 0) usage_error(source.string(), ": has no experts, and MXFP4 is for their matrices");
  int64_t count = 0, finished = 0;
  Plan plan(config, options.dense, std::make_shared<Encoder>(options, [&](const QuantizedTensorReport& report) {
              if (!done(report, static_cast<double>(++finished) / static_cast<double>(count))) throw Stopped();
            }));
  for (const auto& [name, tensor] : weights) {
    count += plan.encodes(name);
    plan.add(name, tensor);  // what is packed already stays as it is
  }
  if (count == 0) {
    usage_error(source.string(), ": nothing is left to quantise: its experts are in MXFP4 already",
                options.dense == DenseForm::q8 ? ", its other matrices in 8 bits"
                                               : "; --dense q8 takes the other matrices to 8 bits");
  }
  AtomicDirectory folder(target, options.replace);
  try {
    copy_other_files(source, folder.path());
    write_weights(folder.path(), std::move(plan).sources());
  } catch (const Stopped&) {
    return false;
  }
  folder.commit();
  return true;
}

Transformer dequantized(const Transformer& model, at::ScalarType type) {
  Transformer exact(model.config(), model.device(), type);
  for (const auto& [name, tensor] : model.parameters()) {
    if (tensor.defined()) exact.set_parameter(name, tensor);
  }
  ModelWeights weights = model.weights();
  for (const ParameterSlot& slot : parameter_layout(model.config(), weights)) {
    if (slot.projection == nullptr || !slot.projection->packed) continue;
    exact.set_parameter(slot.name, slot.projection->packed->dequantize(type));
  }
  for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
    const auto set = [&](const std::shared_ptr<ExpertMatrices>& packed, const char* name) {
      if (!packed) return;
      exact.set_parameter(cat("model.layers.", layer, ".mlp.experts.", name),
                          packed->source().dequantize(type).transpose(1, 2).contiguous());
    };
    set(weights.layers[layer].gate_up_packed, "gate_up_proj");
    set(weights.layers[layer].down_packed, "down_proj");
  }
  return exact;
}

}  // namespace xinslm
