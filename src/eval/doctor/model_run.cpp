#include "eval/doctor/model_run.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

#include "train/train_step.h"
#include "xinslm/core/random.h"
#include "xinslm/model/decoder.h"
#include "xinslm/model/quantize.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"
#include "xinslm/train/gradients.h"
#include "xinslm/train/optimizer.h"

namespace xinslm::doctor {
namespace {

constexpr int64_t steps = 10, sequences = 4, length = 96, generated = 32;

/// Both kinds of layers, sinks, biases and norms of queries and keys; widths that blocks of 32 divide.
ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 320;
  config.hidden_size = 64;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 32;
  config.num_experts = 8;
  config.num_experts_per_tok = 2;
  config.intermediate_size = 96;
  config.max_position_embeddings = 512;
  config.sliding_window = 16;
  config.qk_norm = true;
  config.initializer_range = 0.1;
  return config;
}

/// Sequences in which a token mostly follows from the one before it, so that there is something to learn.
Batch batch_of(int64_t step) {
  RandomStream random({random_for::doctor_text, static_cast<uint64_t>(step)});
  const int64_t words = small_config().vocab_size;
  Batch batch;
  at::Tensor text = at::empty({sequences, length + 1}, at::kLong);
  for (int64_t row = 0; row < sequences; ++row) {
    auto* token = text[row].mutable_data_ptr<int64_t>();
    for (int64_t i = 0; i <= length; ++i) {
      const bool follows = i > 0 && random.uniform() < 0.9;
      token[i] = follows ? (token[i - 1] * 5 + 17) % words : static_cast<int64_t>(random.below(words));
    }
  }
  batch.tokens = text.narrow(1, 0, length).contiguous();
  batch.targets = text.narrow(1, 1, length).contiguous();
  batch.document_ids = at::arange(length, at::kLong).div(40, "floor").repeat({sequences, 1});
  batch.target_tokens = batch.targets.numel();
  batch.target_bytes = batch.target_tokens;
  return batch;
}

/// Copies of the masters' matrices in `type`; in float32 the masters themselves.
Transformer computing_model(const Transformer& masters, at::ScalarType type) {
  Transformer model = masters.converted(masters.device(), type);
  model.require_grad(true);
  return model;
}

NamedTensors named(const Transformer& model, const std::vector<at::Tensor>& gradients) {
  NamedTensors result;
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) continue;
    result.emplace_back(model.parameters()[i].first, gradients[i].detach().to(at::kCPU).to(at::kFloat));
  }
  return result;
}

void train(const Transformer& masters, const Transformer& model, ModelRun& run) {
  TrainingSettings settings;
  settings.learning_rate = 2e-3;
  Optimizer optimizer(masters, model, settings);
  Gradients gradients(model, 1);
  StepPlan plan;
  plan.experts = model.config().num_experts_per_tok;
  for (plan.step = 0; plan.step < steps; ++plan.step) {
    const StepResult result = compute_gradients(model, {batch_of(plan.step)}, settings, plan, gradients);
    if (plan.step == 0) run.gradients = named(model, gradients.tensors());
    optimizer.step(gradients.tensors(), 1, 1 / static_cast<double>(result.target_tokens));
    gradients.release();
    run.losses.push_back(result.loss());
  }
}

/// Prompt in one pass, then token by token as generation does: by the decoder where there is one.
void generate(const Transformer& model, ModelRun& run) {
  const at::NoGradGuard no_gradients;
  KvCache cache(model.config(), 1, model.device(), model.type());
  ForwardOptions options;
  options.kv_cache = &cache;
  std::optional<Decoder> decoder;
  if (Decoder::supports(model)) decoder.emplace(model);
  const auto logits_of = [&](const at::Tensor& tokens) {
    const at::Tensor hidden = model.hidden_states(tokens.to(model.device()), options);
    return model.logits(hidden.select(1, hidden.size(1) - 1)).view(-1);
  };
  at::Tensor logits = logits_of(batch_of(0).tokens.narrow(0, 0, 1).narrow(1, 0, 24));
  for (int64_t i = 0; i < generated; ++i) {
    const auto best = logits.to(at::kCPU).topk(2);
    const int64_t token = std::get<1>(best)[0].item<int64_t>();
    run.tokens.push_back(token);
    run.margins.push_back((std::get<0>(best)[0] - std::get<0>(best)[1]).item<double>());
    logits = decoder ? decoder->step(token, cache, 0) : logits_of(at::full({1, 1}, token, at::kLong));
  }
}

/// Experts in MXFP4 and attention's matrices in 8 bits, as `xinslm quantize` makes them.
Transformer packed_model(const Transformer& masters, at::ScalarType type) {
  Transformer model(masters.config(), masters.device(), type);
  std::vector<c10::intrusive_ptr<Mxfp4Tensor>> experts;
  for (size_t i = 0; i < masters.table().size(); ++i) {
    const auto& [name, master] = masters.parameters()[i];
    const at::Tensor values = master.detach().to(at::kCPU);
    const PackedAs form = quantized_form(masters.table()[i], DenseForm::attention);
    if (form == PackedAs::mxfp4) {
      const Mxfp4Blocks parts = quantize_mxfp4(values.transpose(1, 2).contiguous(), ScaleRule::mse, 32, name);
      experts.push_back(Mxfp4Tensor::from_checkpoint(parts.blocks, parts.scales, name));
    } else if (form == PackedAs::q8) {
      const Q8Blocks parts = quantize_q8(values, name);
      model.set_packed(name, Q8Tensor::from_checkpoint(parts.values, parts.scales, name));
    } else {
      model.set_parameter(name, master);
    }
  }
  for (int64_t layer = 0; layer < masters.config().num_hidden_layers; ++layer) {
    model.set_packed_experts(layer, experts[static_cast<size_t>(2 * layer)],
                             experts[static_cast<size_t>(2 * layer + 1)]);
  }
  return model;
}

at::Tensor logits_of_a_text(const Transformer& model) {
  const at::NoGradGuard no_gradients;
  const at::Tensor tokens = batch_of(1).tokens.narrow(0, 0, 1).to(model.device());
  return model.logits(model.hidden_states(tokens))[0].to(at::kCPU);
}

}  // namespace

ModelRun run_model(const Place& place, at::ScalarType type, const NamedTensors& trained) {
  const StayAt stay(place);
  const Transformer masters(small_config(), place.device, at::kFloat, /*seed=*/1);
  ModelRun run;
  const Transformer packed = packed_model(masters, type);
  run.packed_logits = logits_of_a_text(packed);
  run.exact_logits = logits_of_a_text(dequantized(packed, at::kFloat));
  const Transformer model = computing_model(masters, type);
  train(masters, model, run);
  for (const auto& [name, master] : masters.parameters()) {
    run.trained.emplace_back(name, master.detach().to(at::kCPU).clone());
  }
  Transformer same(masters.config(), place.device, type);
  for (const auto& [name, value] : trained.empty() ? run.trained : trained) same.set_parameter(name, value);
  generate(same, run);
  return run;
}

}  // namespace xinslm::doctor
