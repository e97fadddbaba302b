#include "xinslm/model/load.h"

#include <ATen/ATen.h>

#include <string>

#include "xinslm/core/error.h"
#include "xinslm/format/model_folder.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

void check_float(const std::string& name, const at::Tensor& tensor) {
  if (at::isFloatingType(tensor.scalar_type())) return;
  const bool packed = name.ends_with("_blocks") || name.ends_with("_scales");
  data_error("tensor ", name, " is of type ", tensor.scalar_type(),
             packed ? ": MXFP4 checkpoints are not read by this version; use an unquantised copy of the model"
                    : ", expected floating point");
}

std::string type_name(at::ScalarType type) {
  if (type == at::kBFloat16) return "bfloat16";
  return type == at::kHalf ? "float16" : "float32";
}

void set_all(Transformer& model, const NamedTensors& weights) {
  const bool tied = model.config().tie_word_embeddings;
  for (const auto& [name, tensor] : weights) {
    check_float(name, tensor);
    if (tied && name == "lm_head.weight") continue;  // some tools store the tied head as well
    model.set_parameter(name, tensor);
  }
}

}  // namespace

Transformer load_model(const fs::path& folder, at::Device device, at::ScalarType type) {
  Transformer model(read_model_config(folder), device, type);
  try {
    set_all(model, read_weights(folder));
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
    if (model.parameters()[i].second.defined()) continue;
    data_error(folder.string(), ": tensor ", name, " ", at::IntArrayRef(shape), " is missing");
  }
  return model;
}

void save_model(const fs::path& folder, const Transformer& model, const Tokenizer& tokenizer) {
  write_model_config(folder, model.config(), type_name(model.type()));
  write_generation_config(folder, model.config());
  write_weights(folder, model.parameters());
  tokenizer.save(folder);
}

}  // namespace xinslm
