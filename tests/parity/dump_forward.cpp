// Test helper: the hidden half of the comparison with transformers. Loads a model folder, reads token ids, and writes
// logits, loss and the gradient of every parameter.
#include <ATen/ATen.h>

#include <cstdio>
#include <string>

#include "xinslm/core/error.h"
#include "xinslm/core/machine.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/load.h"
#include "xinslm/ops/linear_cross_entropy.h"

namespace xinslm {
namespace {

/// The tensors "tokens" and "targets" [B, T] int64 of a safetensors file.
std::pair<at::Tensor, at::Tensor> read_input(const std::string& file) {
  at::Tensor tokens, targets;
  for (const auto& [name, tensor] : read_safetensors(file)) {
    if (name == "tokens") tokens = tensor;
    if (name == "targets") targets = tensor;
  }
  if (!tokens.defined() || !targets.defined()) data_error(file, ": expected tensors tokens and targets");
  return {tokens, targets};
}

void dump_forward(const std::string& model_folder, const std::string& input, const std::string& output,
                  const ForwardOptions& options) {
  Transformer model = load_model(model_folder, at::kCPU, at::kFloat);
  const auto [tokens, targets] = read_input(input);
  model.require_grad(true);
  const at::Tensor hidden = model.hidden_states(tokens, options);
  const at::Tensor counted = targets.ne(ignored_target).sum();
  const at::Tensor loss = linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, targets.flatten(), 0,
                                               model.config().logit_softcap) /
                          counted;
  loss.backward();
  NamedTensors result{{"logits", model.logits(hidden)}, {"loss", loss}};
  for (const auto& [name, tensor] : model.parameters()) {
    result.emplace_back("gradient." + name, tensor.grad().defined() ? tensor.grad() : at::zeros_like(tensor));
  }
  write_safetensors(output, result);
}

/// Loads a folder and writes its weights and configuration into another.
void copy_model(const std::string& from, const std::string& to) {
  const Transformer model = load_model(from, at::kCPU, at::kFloat);
  write_model_config(to, model.config(), "float32");
  write_generation_config(to, model.config());
  write_weights(to, model.parameters());
}

/// Fresh weights of the configuration in a folder, made large and irregular so that no mistake hides behind a zero.
void make_model(const std::string& folder, uint64_t seed) {
  const ModelConfig config = read_model_config(folder);
  Transformer model(config, at::kCPU, at::kFloat, seed);
  ModelConfig loud = config;
  loud.initializer_range = 0.15;
  const Transformer noise(loud, at::kCPU, at::kFloat, seed + 1);
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const auto& [name, tensor] = model.parameters()[i];
    at::Tensor value = tensor + noise.parameters()[i].second;
    if (tensor.dim() == 1 || name.ends_with("_bias")) {
      const at::Tensor place = at::arange(tensor.numel(), at::kFloat).view(tensor.sizes());
      value = tensor + 0.3 * (place * 1.7 + static_cast<double>(i)).sin();
    }
    model.set_parameter(name, value);
  }
  write_model_config(folder, config, "float32");
  write_weights(folder, model.parameters());
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  configure_threads(1);
  if (command == "make" && argc == 4) {
    make_model(argv[2], std::stoull(argv[3]));
  } else if (command == "copy" && argc == 4) {
    copy_model(argv[2], argv[3]);
  } else if (command == "forward" && (argc == 5 || argc == 6)) {
    ForwardOptions options;
    options.gradient_checkpointing = argc == 6 && std::string(argv[5]) == "checkpointed";
    dump_forward(argv[2], argv[3], argv[4], options);
  } else {
    usage_error("usage: dump_forward make FOLDER SEED | copy FROM TO | forward MODEL INPUT OUTPUT [checkpointed]");
  }
  return 0;
}

}  // namespace
}  // namespace xinslm

int main(int argc, char** argv) {
  try {
    return xinslm::run(argc, argv);
  } catch (const xinslm::Error& problem) {
    std::fprintf(stderr, "dump_forward: %s\n", problem.what());
    return problem.exit_code();
  }
}
