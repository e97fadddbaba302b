// The whole model through the code of the Metal back end, kernels in the simulator, against the processor's own.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "mps/check.h"
#include "unit/format/temporary_folder.h"
#include "unit/model/small_model.h"
#include "xinslm/core/file.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/model/load.h"
#include "xinslm/model/packed_names.h"
#include "xinslm/model/quantize.h"
#include "xinslm/model/transformer.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/train/optimizer.h"

using namespace xinslm;
using namespace xinslm::test;
namespace fs = std::filesystem;

namespace {

constexpr double tolerance = 1e-3;

/// gpt-oss with everything it has, of widths that are no multiples of the kernels' tiles.
ModelConfig metal_config() {
  ModelConfig config = small_config();
  config.num_hidden_layers = 2;  // a windowed one and a full one
  config.hidden_size = 96;
  config.intermediate_size = 160;
  config.initializer_range = 0.1;
  return config;
}

ModelConfig departing_config() {
  ModelConfig config = metal_config();
  config.qk_norm = true;
  config.num_dense_layers = 1;
  config.tie_word_embeddings = true;
  config.router_softmax = "before";
  config.logit_softcap = 30;
  return config;
}

at::Tensor logits_of(const Transformer& model, const at::Tensor& tokens, const ForwardOptions& options = {}) {
  const at::NoGradGuard no_gradients;
  return model.logits(model.hidden_states(tokens, options));
}

ForwardOptions two_documents(int64_t batch, int64_t time) {
  ForwardOptions options;
  const at::Tensor first = at::zeros({batch, time / 3}, at::kLong),
                   second = at::ones({batch, time - time / 3}, at::kLong);
  options.document_ids = at::cat({first, second}, 1);
  return options;
}

struct Learned {
  at::Tensor loss;
  std::map<std::string, at::Tensor> gradients;  ///< undefined for what has no part in the loss
};

Learned learn(const Transformer& model, const at::Tensor& tokens, const ForwardOptions& given) {
  std::vector<RouterRecord> records;
  ForwardOptions options = given;
  options.router_records = &records;
  Tensors parameters;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.parameters()) {
    if (!tensor.defined() || !tensor.requires_grad()) continue;
    parameters.push_back(tensor);
    names.push_back(name);
  }
  const at::Tensor hidden = model.hidden_states(tokens, options);
  const at::Tensor targets = tokens.roll(-1, 1).flatten();
  at::Tensor loss = linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, targets, 0.05, 0);
  for (const RouterRecord& record : records) loss = loss + 0.1 * record.router_logits.logsumexp(-1).square().sum();
  const auto gradients = torch::autograd::grad({loss}, parameters, {}, std::nullopt, false, /*allow_unused=*/true);
  Learned learned{loss.detach(), {}};
  for (size_t i = 0; i < names.size(); ++i) learned.gradients[names[i]] = gradients[i];
  return learned;
}

void expect_same_learning(const ModelConfig& config, const ForwardOptions& options, const at::Tensor& tokens) {
  Transformer model = small_model(config);
  model.require_grad(true);
  const Learned expected = learn(model, tokens, options);
  const SimulatedMetal metal;
  const Learned found = learn(model, tokens, options);
  EXPECT_LE(distance(found.loss, expected.loss), tolerance);
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LE(distance(found.gradients.at(name), gradient), tolerance) << name;
  }
}

struct Continued {
  std::vector<int64_t> tokens;
  at::Tensor logits;  // [steps, V]
};

/// Greedy, by cache, as the generator does on a GPU: a prompt in two parts, then token after token.
Continued continue_greedily(const Transformer& model, int64_t steps, at::ScalarType cache_type) {
  const at::NoGradGuard no_gradients;
  KvCache cache(model.config(), 1, at::kCPU, cache_type);
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor prompt = some_tokens(1, 19, model.config().vocab_size);
  model.hidden_states(prompt.narrow(1, 0, 6), options);
  at::Tensor next = prompt.narrow(1, 6, 13);
  Continued result;
  Tensors logits;
  for (int64_t i = 0; i < steps; ++i) {
    logits.push_back(model.logits(model.hidden_states(next, options).select(1, -1)).reshape(-1));
    result.tokens.push_back(logits.back().argmax().item<int64_t>());
    next = at::full({1, 1}, result.tokens.back(), at::kLong);
  }
  result.logits = at::stack(logits);
  return result;
}

/// @param exact  the same model as the processor computes it without rounding activations
void expect_same_continuation(const Transformer& model, const Transformer& exact, at::ScalarType cache_type) {
  constexpr int64_t steps = 12;
  const Continued expected = continue_greedily(exact, steps, cache_type);
  const SimulatedMetal metal;
  const Continued found = continue_greedily(model, steps, cache_type);
  EXPECT_EQ(found.tokens, expected.tokens);
  EXPECT_LE(distance(found.logits, expected.logits), tolerance);
}

class MetalPackedModel : public TemporaryFolder {
 protected:
  Transformer packed(DenseForm dense) const {
    const Transformer model = small_model(metal_config());
    fs::create_directories(folder_ / "float");
    write_model_config(folder_ / "float", model.config(), "float32");
    write_weights(folder_ / "float", model.parameters());
    QuantizeOptions options;
    options.dense = dense;
    options.replace = true;
    quantize_model(folder_ / "float", folder_ / "packed", options, [](const auto&, double) { return true; });
    return load_model(folder_ / "packed", at::kCPU, at::kFloat);
  }
};

}  // namespace

TEST(MetalModel, ForwardEqualsTheProcessors) {
  for (const ModelConfig& config : {metal_config(), departing_config()}) {
    const Transformer model = small_model(config);
    const at::Tensor tokens = some_tokens(2, 37), expected = logits_of(model, tokens);
    const at::Tensor with_documents = logits_of(model, tokens, two_documents(2, 37));
    const SimulatedMetal metal;
    EXPECT_LE(distance(logits_of(model, tokens), expected), tolerance);
    EXPECT_LE(distance(logits_of(model, tokens, two_documents(2, 37)), with_documents), tolerance);
    EXPECT_GT(metal.count("rms_norm_forward_float"), 0);
  }
}

TEST(MetalModel, HalfPrecisionStaysClose) {
  ModelConfig config = metal_config();
  config.num_experts_per_tok = config.num_experts;  // rounding must not choose other experts
  const Transformer exact = small_model(config);
  const at::Tensor tokens = some_tokens(1, 21), expected = logits_of(exact, tokens);
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    Transformer rounded(config, at::kCPU, at::kBFloat16);
    for (const auto& [name, tensor] : exact.parameters()) rounded.set_parameter(name, tensor);
    const SimulatedMetal metal;
    EXPECT_LE(distance(logits_of(rounded, tokens), expected), 0.05) << type;
  }
}

TEST(MetalModel, GradientsEqualTheProcessors) {
  expect_same_learning(metal_config(), {}, some_tokens(2, 21));
  expect_same_learning(departing_config(), two_documents(2, 21), some_tokens(2, 21));
}

TEST(MetalModel, GradientsWithDropoutAndCheckpointsEqualTheProcessors) {
  ForwardOptions options;
  options.word_dropout = 0.2;
  options.input_dropout = 0.1;
  options.hidden_dropout = 0.3;
  options.output_dropout = 0.1;
  options.dropout_seed = 99;
  options.gradient_checkpointing = true;
  expect_same_learning(metal_config(), options, some_tokens(2, 21));
}

TEST(MetalModel, StepsOfTheOptimizerEqualTheProcessors) {
  const auto losses = [] {
    Transformer model = small_model(metal_config());
    model.require_grad(true);
    TrainingSettings settings;
    settings.optimizer = "adamw";
    Optimizer optimizer(model, model, settings);
    std::vector<double> found;
    for (int64_t step = 0; step < 3; ++step) {
      const Learned learned = learn(model, some_tokens(2, 21).add(step).remainder(61), {});
      found.push_back(learned.loss.item<double>());
      Tensors gradients;
      for (const auto& [name, tensor] : model.parameters()) gradients.push_back(learned.gradients.at(name));
      optimizer.step(gradients, 1.0, 0.01);
    }
    return found;
  };
  const std::vector<double> expected = losses();
  const SimulatedMetal metal;
  const std::vector<double> found = losses();
  EXPECT_GT(metal.count("adamw_step_float_float"), 0);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance * expected[i]) << i;
}

TEST(MetalModel, GreedyContinuationEqualsTheProcessors) {
  for (const ModelConfig& config : {metal_config(), departing_config()}) {
    const Transformer model = small_model(config);
    for (const auto cache_type : {at::kFloat, at::kHalf}) expect_same_continuation(model, model, cache_type);
  }
}

// The processor rounds activations for packed products to 8 bits, the GPU does not: the decoded weights tell.
TEST_F(MetalPackedModel, ForwardAndContinuationEqualTheDecodedModel) {
  for (const DenseForm dense : {DenseForm::stored, DenseForm::q8}) {
    const Transformer model = packed(dense), exact = dequantized(model, at::kFloat);
    const at::Tensor tokens = some_tokens(2, 23), expected = logits_of(exact, tokens);
    {
      const SimulatedMetal metal;
      EXPECT_LE(distance(logits_of(model, tokens), expected), tolerance);
      EXPECT_GT(metal.count("gate_up_mxfp4_float"), 0);
    }
    expect_same_continuation(model, exact, at::kFloat);
  }
}

TEST_F(MetalPackedModel, GradientsPassThroughPackedExperts) {
  Transformer model = packed(DenseForm::stored), exact = dequantized(model, at::kFloat);
  model.require_grad(true);
  exact.require_grad(true);
  const auto expected = learn(exact, some_tokens(2, 21), {}).gradients;
  const SimulatedMetal metal;
  const auto found = learn(model, some_tokens(2, 21), {}).gradients;
  ASSERT_GT(found.size(), 20u);
  for (const auto& [name, gradient] : found) {
    if (!gradient.defined()) continue;
    EXPECT_LE(distance(gradient, expected.at(name)), tolerance) << name;
  }
}
