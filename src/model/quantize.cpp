#include "xinslm/model/quantize.h"

#include <ATen/ATen.h>

#include <map>
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

  const Encoded& encode(const std::string& name, PackedAs form, const at::Tensor& weight) {
    if (name == name_) return encoded_;
    QuantizedTensorReport report{name, static_cast<int64_t>(weight.nbytes()), 0, {}};
    encoded_ = form == PackedAs::mxfp4 ? experts(name, weight, report.error) : dense(name, weight, report.error);
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

/// What the new file holds, in the order of the old one.
class Plan {
 public:
  Plan(const ModelConfig& config, DenseForm dense, std::shared_ptr<Encoder> encoder) : encoder_(std::move(encoder)) {
    for (const Parameter& parameter : parameter_table(config)) {
      forms_[parameter.name] = quantized_form(parameter, dense);
      if (dense == DenseForm::bfloat16 && parameter.packed_as() == PackedAs::q8) shortened_.insert(parameter.name);
    }
  }

  /// What becomes of a tensor; of those that are packed already nothing.
  PackedAs form(const std::string& name) const {
    const auto found = forms_.find(name);
    return found == forms_.end() ? PackedAs::none : found->second;
  }

  void add(const std::string& name, const at::Tensor& weight) {
    const PackedAs wanted = form(name);
    if (wanted == PackedAs::mxfp4) {
      add_experts(name, weight);
    } else if (wanted == PackedAs::q8) {
      add_dense(name, weight);
    } else {
      const at::ScalarType type = shortened_.contains(name) ? at::kBFloat16 : weight.scalar_type();
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
    sources_.push_back({cat(name, suffix), type, sizes, [=, encoder = encoder_, wanted = form(name)] {
                          return encoder->encode(name, wanted, weight).*part;
                        }});
  }

  static int64_t blocks_of(const std::string& name, const at::Tensor& weight, int64_t in) {
    if (in % quant_block == 0) return in / quant_block;
    usage_error("tensor ", name, " is ", weight.sizes(), ": its ", in, " inputs are no multiple of ", quant_block,
                ", so it has no whole blocks");
  }

  std::map<std::string, PackedAs> forms_;  // of each parameter
  std::set<std::string> shortened_;        // to bfloat16
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

PackedAs quantized_form(const Parameter& parameter, DenseForm dense) {
  const PackedAs form = parameter.packed_as();
  const bool attention = dense == DenseForm::attention && parameter.role == ParameterRole::attention;
  return form == PackedAs::mxfp4 || dense == DenseForm::q8 || attention ? form : PackedAs::none;
}

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
    count += plan.form(name) != PackedAs::none;
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
  ModelWeights weights = model.weights();
  for (const ParameterSlot& slot : parameter_layout(model.config(), weights)) {
    if (slot.projection != nullptr && slot.projection->packed) {
      exact.set_parameter(slot.name, slot.projection->packed->dequantize(type));
    } else if (slot.experts != nullptr && *slot.experts) {
      exact.set_parameter(slot.name, (*slot.experts)->source().dequantize(type).transpose(1, 2).contiguous());
    } else if (slot.tensor->defined()) {
      exact.set_parameter(slot.name, *slot.tensor);
    }
  }
  return exact;
}

}  // namespace xinslm
