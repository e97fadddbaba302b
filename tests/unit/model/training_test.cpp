#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/block.h"
#include "unit/model/small_model.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/linear_cross_entropy.h"

using namespace xinslm;

namespace {

/// Gradients of every parameter, by way of the fused loss and a loss on the router's logits.
std::vector<at::Tensor> gradients(Transformer& model, ForwardOptions options, const at::Tensor& tokens) {
  std::vector<RouterRecord> records;
  options.router_records = &records;
  std::vector<at::Tensor> parameters;
  for (const auto& [name, tensor] : model.parameters()) parameters.push_back(tensor);
  const at::Tensor hidden = model.hidden_states(tokens, options);
  const at::Tensor targets = tokens.roll(-1, 1).flatten();
  at::Tensor loss = linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, targets, 0, 0);
  for (const RouterRecord& record : records) loss = loss + 0.1 * record.router_logits.logsumexp(-1).square().sum();
  return torch::autograd::grad({loss}, parameters);
}

ForwardOptions all_dropouts() {
  ForwardOptions options;
  options.word_dropout = 0.2;
  options.input_dropout = 0.1;
  options.hidden_dropout = 0.3;
  options.output_dropout = 0.1;
  options.dropout_seed = 99;
  return options;
}

TEST(Training, EveryParameterGetsAGradient) {
  for (const bool departures : {false, true}) {
    ModelConfig config = small_config();
    config.qk_norm = departures;
    config.num_dense_layers = departures ? 1 : 0;
    config.tie_word_embeddings = departures;
    Transformer model = small_model(config);
    model.require_grad(true);
    const auto found = gradients(model, {}, some_tokens(4, 40));
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_GT(found[i].abs().max().item<double>(), 0) << model.parameters()[i].first;
    }
  }
}

TEST(Training, TheRouterOfOneExpertLearnsWithTheSoftmaxBefore) {
  ModelConfig config = small_config();
  config.num_experts_per_tok = 1;
  config.router_softmax = "before";
  Transformer model = small_model(config);
  model.require_grad(true);
  const at::Tensor hidden = model.hidden_states(some_tokens(2, 20));
  hidden.square().mean().backward();
  EXPECT_GT(parameter(model, "model.layers.0.mlp.router.weight").grad().abs().max().item<double>(), 1e-6);
}

TEST(Training, CheckpointingGivesTheSameGradientsToTheBit) {
  ModelConfig config = small_config();
  config.num_dense_layers = 1;
  config.qk_norm = true;
  Transformer model = small_model(config);
  model.require_grad(true);
  for (ForwardOptions options : {ForwardOptions{}, all_dropouts()}) {
    options.gradient_checkpointing = false;
    const auto plain = gradients(model, options, some_tokens(2, 30));
    options.gradient_checkpointing = true;
    const auto checkpointed = gradients(model, options, some_tokens(2, 30));
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_TRUE(at::equal(plain[i], checkpointed[i])) << model.parameters()[i].first;
    }
  }
}

/// Two rows of 20, of which the second has text in its first 13 places.
struct PaddedRows {
  at::Tensor tokens = some_tokens(2, 20), targets = tokens.roll(-1, 1);
  at::Tensor places = at::cat({at::arange(20), at::arange(20, 33)});

  explicit PaddedRows(int64_t filler) {
    tokens[1].narrow(0, 13, 7).fill_(filler);
    targets[1].narrow(0, 13, 7).fill_(ignored_target);
  }
};

/// Gradients of the loss over the targets that count, and the sum of squares of the router's logits.
std::vector<at::Tensor> row_gradients(Transformer& model, ForwardOptions options, const at::Tensor& tokens,
                                      const at::Tensor& targets, int64_t* routed = nullptr) {
  std::vector<RouterRecord> records;
  options.router_records = &records;
  std::vector<at::Tensor> parameters;
  for (const auto& [name, tensor] : model.parameters()) parameters.push_back(tensor);
  const at::Tensor hidden = model.hidden_states(tokens, options);
  at::Tensor loss = linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, targets.flatten(), 0, 0);
  for (const RouterRecord& record : records) loss = loss + 0.1 * record.router_logits.square().sum();
  if (routed != nullptr) *routed = records.at(0).chosen.size(0);
  return torch::autograd::grad({loss}, parameters);
}

TEST(Training, EmptyPlacesCountForNothing) {
  ModelConfig config = small_config();
  config.num_dense_layers = 1;
  Transformer model = small_model(config);
  model.require_grad(true);
  const PaddedRows rows(0), others(7);
  const auto first = row_gradients(model, {}, rows.tokens.narrow(0, 0, 1), rows.targets.narrow(0, 0, 1));
  const auto second = row_gradients(model, {}, rows.tokens.narrow(0, 1, 1).narrow(1, 0, 13),
                                    rows.targets.narrow(0, 1, 1).narrow(1, 0, 13));
  ForwardOptions options;
  options.real_places = rows.places;
  int64_t routed = 0;
  const auto together = row_gradients(model, options, rows.tokens, rows.targets, &routed);
  const auto otherwise = row_gradients(model, options, others.tokens, others.targets);
  options.gradient_checkpointing = true;
  const auto checkpointed = row_gradients(model, options, rows.tokens, rows.targets);
  EXPECT_EQ(routed, 33);
  for (size_t i = 0; i < together.size(); ++i) {
    const std::string& name = model.parameters()[i].first;
    const at::Tensor expected = first[i] + second[i];
    const double size = expected.abs().max().item<double>();
    EXPECT_LT(largest_difference(together[i], expected), 1e-5 * size + 1e-7) << name;
    EXPECT_LT(largest_difference(together[i], otherwise[i]), 1e-5 * size + 1e-7) << name;
    EXPECT_TRUE(at::equal(together[i], checkpointed[i])) << name;
  }
}

TEST(Training, EmptyPlacesGoWithWholeRowsOnly) {
  const Transformer model = small_model();
  ForwardOptions options;
  options.real_places = at::arange(5);
  options.last_tokens = 2;
  EXPECT_THROW(model.hidden_states(some_tokens(1, 9), options), Error);
  options.last_tokens.reset();
  options.real_places = at::arange(10);
  EXPECT_THROW(model.hidden_states(some_tokens(1, 9), options), Error);
}

// Sinks that the configuration does not list stand for a parameter that somebody forgot to list.
TEST(Training, CheckpointingRefusesAWeightThatIsNotListed) {
  ModelConfig config = small_config();
  config.attention_sinks = false;
  Transformer model = small_model(config);
  model.require_grad(true);
  PassState pass;
  pass.config = config;
  pass.num_experts_per_tok = config.num_experts_per_tok;
  pass.cos = at::ones({9, 4});
  pass.sin = at::zeros({9, 4});
  LayerWeights weights = model.weights().layers[0];
  const at::Tensor x = at::ones({1, 9, 32});
  EXPECT_NO_THROW(checkpointed_block(pass, 0, weights, x).hidden.sum().backward());
  EXPECT_TRUE(parameter(model, "model.layers.0.input_layernorm.weight").grad().defined());
  weights.sinks = at::zeros({4}).requires_grad_(true);
  EXPECT_THROW(checkpointed_block(pass, 0, weights, x).hidden.sum().backward(), std::exception);
  weights.sinks.requires_grad_(false);
  EXPECT_NO_THROW(checkpointed_block(pass, 0, weights, x).hidden.sum().backward());
}

TEST(Training, OnlyWhatIsTrainedGetsAGradient) {
  for (const bool checkpointing : {false, true}) {
    Transformer model = small_model();
    model.train_only([](const Parameter& parameter) { return parameter.layer == 2; });
    model.require_grad(true);
    ForwardOptions options;
    options.gradient_checkpointing = checkpointing;
    const at::Tensor hidden = model.hidden_states(some_tokens(1, 9), options);
    linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, some_tokens(1, 9).flatten(), 0, 0).backward();
    for (size_t i = 0; i < model.table().size(); ++i) {
      const auto& [name, tensor] = model.parameters()[i];
      EXPECT_EQ(tensor.requires_grad(), model.table()[i].layer == 2) << name;
      EXPECT_EQ(tensor.grad().defined(), model.table()[i].layer == 2) << name;
    }
  }
}

TEST(Training, CheckpointingLeavesFrozenParametersAlone) {
  Transformer model = small_model();
  model.require_grad(true);
  const at::Tensor frozen = parameter(model, "model.layers.1.self_attn.q_proj.weight");
  frozen.requires_grad_(false);
  ForwardOptions options;
  options.gradient_checkpointing = true;
  model.hidden_states(some_tokens(1, 9), options).square().sum().backward();
  EXPECT_FALSE(frozen.grad().defined());
  EXPECT_TRUE(parameter(model, "model.layers.1.self_attn.k_proj.weight").grad().defined());
}

TEST(Training, GradientsMatchFiniteDifferences) {
  Transformer model = small_model();
  model.require_grad(true);
  const at::Tensor tokens = some_tokens(1, 12);
  const auto loss = [&] { return model.logits(model.hidden_states(tokens)).log_softmax(-1).select(-1, 7).sum(); };
  loss().backward();
  const at::NoGradGuard no_gradients;
  for (const char* name :
       {"model.layers.1.self_attn.sinks", "model.layers.0.self_attn.k_proj.bias", "model.norm.weight",
        "model.layers.3.input_layernorm.weight", "model.layers.2.mlp.experts.down_proj_bias"}) {
    at::Tensor values = parameter(model, name).view(-1);
    const double step = 1e-2;
    const float kept = values[1].item<float>();
    values[1] = kept + step;
    const double above = loss().item<double>();
    values[1] = kept - step;
    const double below = loss().item<double>();
    values[1] = kept;
    const double gradient = parameter(model, name).grad().view(-1)[1].item<double>();
    EXPECT_NEAR((above - below) / (2 * step), gradient, 0.02 * std::abs(gradient) + 5e-3) << name;
  }
}

TEST(Dropout, TheSameSeedGivesTheSamePassAndAnotherDoesNot) {
  const Transformer model = small_model();
  ForwardOptions options = all_dropouts();
  const at::Tensor first = model.hidden_states(some_tokens(1, 30), options);
  EXPECT_TRUE(at::equal(model.hidden_states(some_tokens(1, 30), options), first));
  options.dropout_seed = 100;
  EXPECT_FALSE(at::equal(model.hidden_states(some_tokens(1, 30), options), first));
}

TEST(Dropout, EachKindHasAnEffect) {
  const Transformer model = small_model();
  const at::Tensor usual = model.hidden_states(some_tokens(1, 30));
  for (double ForwardOptions::*kind : {&ForwardOptions::word_dropout, &ForwardOptions::input_dropout,
                                       &ForwardOptions::hidden_dropout, &ForwardOptions::output_dropout}) {
    ForwardOptions options;
    options.*kind = 0.5;
    EXPECT_FALSE(at::equal(model.hidden_states(some_tokens(1, 30), options), usual));
  }
}

TEST(Dropout, ADroppedWordIsMissingAtEveryPlace) {
  ModelConfig config = small_config();
  config.num_hidden_layers = 1;
  config.sliding_window = 1;  // a token sees itself only, so equal tokens give equal results
  const Transformer model = small_model(config);
  ForwardOptions options;
  options.word_dropout = 0.5;
  const at::Tensor tokens = at::arange(61).repeat({2}).unsqueeze(0);
  const at::Tensor hidden = model.hidden_states(tokens, options);
  EXPECT_LT(largest_difference(hidden.narrow(1, 0, 61), hidden.narrow(1, 61, 61)), 1e-4);
  // All dropped words look alike: with half of 61 dropped, many places equal another.
  const at::Tensor words = hidden[0].narrow(0, 0, 61);
  const at::Tensor twins = (words.unsqueeze(0) - words.unsqueeze(1)).abs().amax(-1).lt(1e-5).sum(-1);
  const auto dropped = twins.gt(1).sum().item<int64_t>();
  EXPECT_GT(dropped, 15);
  EXPECT_LT(dropped, 46);
}

}  // namespace
