#include "xinslm/model/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "unit/model/small_model.h"
#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

at::Tensor logits_of(const Transformer& model, const at::Tensor& tokens, const ForwardOptions& options = {}) {
  return model.logits(model.hidden_states(tokens, options));
}

TEST(Transformer, GivesFloat32LogitsOfEveryToken) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Transformer model(small_config(), at::kCPU, type, 1);
    const at::Tensor hidden = model.hidden_states(some_tokens(2, 7));
    EXPECT_EQ(hidden.sizes(), at::IntArrayRef({2, 7, 32}));
    EXPECT_EQ(hidden.scalar_type(), type);
    EXPECT_EQ(model.logits(hidden).sizes(), at::IntArrayRef({2, 7, 61}));
    EXPECT_EQ(model.logits(hidden).scalar_type(), at::kFloat);
  }
}

TEST(Transformer, Bfloat16StaysCloseToFloat32) {
  ModelConfig config = small_config();
  config.num_experts_per_tok = config.num_experts;  // rounding must not choose other experts
  config.initializer_range = 0.1;
  const Transformer exact(config, at::kCPU, at::kFloat, 1);
  Transformer rounded(config, at::kCPU, at::kBFloat16);
  for (const auto& [name, tensor] : exact.parameters()) rounded.set_parameter(name, tensor);
  const at::Tensor expected = logits_of(exact, some_tokens(2, 20));
  EXPECT_LT(largest_difference(logits_of(rounded, some_tokens(2, 20)), expected),
            0.03 * expected.abs().max().item<double>());
}

TEST(Transformer, ATokenSeesNothingAfterIt) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 30);
  at::Tensor changed = tokens.clone();
  changed.narrow(1, 20, 10).fill_(3);
  const at::Tensor before = logits_of(model, tokens), after = logits_of(model, changed);
  EXPECT_LT(largest_difference(before.narrow(1, 0, 20), after.narrow(1, 0, 20)), 1e-5);
  EXPECT_GT(largest_difference(before.narrow(1, 20, 10), after.narrow(1, 20, 10)), 1e-2);
}

TEST(Transformer, WindowedLayersForgetWhatLiesBeforeTheWindow) {
  ModelConfig config = small_config();
  config.num_hidden_layers = 1;  // windowed
  const Transformer model = small_model(config);
  at::Tensor tokens = some_tokens(1, 30);
  const at::Tensor before = logits_of(model, tokens);
  tokens[0][21] = 3;
  const at::Tensor after = logits_of(model, tokens);
  EXPECT_GT(largest_difference(before.narrow(1, 28, 1), after.narrow(1, 28, 1)), 1e-4);  // 7 back: seen
  EXPECT_LT(largest_difference(before.narrow(1, 29, 1), after.narrow(1, 29, 1)), 1e-6);  // 8 back: not
}

TEST(Transformer, DocumentsDoNotSeeEachOther) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 30);
  ForwardOptions options;
  options.document_ids = at::cat({at::zeros({1, 13}, at::kLong), at::ones({1, 17}, at::kLong)}, 1);
  const at::Tensor packed = logits_of(model, tokens, options);
  EXPECT_LT(largest_difference(packed.narrow(1, 0, 13), logits_of(model, tokens.narrow(1, 0, 13))), 1e-4);
  // Positions are relative in attention, so the second document is computed as if it stood alone.
  EXPECT_LT(largest_difference(packed.narrow(1, 13, 17), logits_of(model, tokens.narrow(1, 13, 17))), 1e-4);
}

TEST(Transformer, TheLastTokensAloneAreThoseOfAll) {
  ModelConfig dense = small_config();
  dense.num_dense_layers = dense.num_hidden_layers;
  for (const ModelConfig& config : {small_config(), dense}) {
    const Transformer model = small_model(config);
    const at::Tensor tokens = some_tokens(2, 30), all = logits_of(model, tokens);
    ForwardOptions options;
    for (const int64_t count : {1, 7, 30, 40}) {
      options.last_tokens = count;
      const int64_t wanted = std::min<int64_t>(count, 30);
      const at::Tensor found = logits_of(model, tokens, options);
      ASSERT_EQ(found.size(1), wanted);
      EXPECT_LT(largest_difference(found, all.narrow(1, 30 - wanted, wanted)), 1e-5);
    }
  }
}

TEST(Transformer, EffortChangesTheNumberOfExperts) {
  const Transformer model = small_model();
  std::vector<RouterRecord> records;
  ForwardOptions options;
  options.router_records = &records;
  std::vector<at::Tensor> results;
  for (const char* effort : {"low", "medium", "high"}) {
    records.clear();
    options.num_experts_per_tok = model.config().experts_at(effort);
    results.push_back(logits_of(model, some_tokens(2, 9), options));
    ASSERT_EQ(records.size(), 4U);
    EXPECT_EQ(records[0].chosen.sizes(), at::IntArrayRef({18, options.num_experts_per_tok}));
    EXPECT_EQ(records[0].router_logits.sizes(), at::IntArrayRef({18, 6}));
  }
  EXPECT_TRUE(at::equal(results[1], logits_of(model, some_tokens(2, 9))));
  EXPECT_GT(largest_difference(results[0], results[1]), 1e-2);
  EXPECT_GT(largest_difference(results[2], results[1]), 1e-2);
}

TEST(Transformer, RouterBiasChangesTheChoiceButNotTheRecordedLogits) {
  const Transformer model = small_model();
  std::vector<at::Tensor> bias(4, at::zeros({6}));
  for (at::Tensor& layer : bias) layer[5] = 1000.0F;
  std::vector<RouterRecord> plain, biased;
  ForwardOptions options;
  options.router_records = &plain;
  model.hidden_states(some_tokens(1, 9), options);
  options.router_records = &biased;
  options.router_bias = &bias;
  model.hidden_states(some_tokens(1, 9), options);
  EXPECT_TRUE(biased[0].chosen.select(1, 0).eq(5).all().item<bool>());
  EXPECT_TRUE(at::equal(plain[0].router_logits, biased[0].router_logits));
}

TEST(Transformer, DenseLayersHaveNoRouter) {
  ModelConfig config = small_config();
  config.num_dense_layers = 3;
  std::vector<RouterRecord> records;
  ForwardOptions options;
  options.router_records = &records;
  small_model(config).hidden_states(some_tokens(1, 9), options);
  EXPECT_EQ(records.size(), 1U);
}

TEST(Transformer, ADenseLayerIsAnExpertThatEveryoneVisits) {
  ModelConfig config = small_config();
  config.num_hidden_layers = 2;
  config.num_experts = config.num_experts_per_tok = 1;
  config.router_softmax = "before";  // weight 1
  const Transformer experts = small_model(config);
  config.num_dense_layers = 2;
  Transformer dense(config, at::kCPU, at::kFloat);
  for (const auto& [name, shape] : parameter_shapes(config)) {
    const size_t place = name.find(".mlp.");
    if (place == std::string::npos) {
      dense.set_parameter(name, parameter(experts, name));
      continue;
    }
    const std::string part = name.substr(place + 5);
    const bool up = part.starts_with("gate_up"), bias = part.ends_with(".bias");
    const at::Tensor value = parameter(
        experts, name.substr(0, place) + ".mlp.experts." + (up ? "gate_up_proj" : "down_proj") + (bias ? "_bias" : ""));
    dense.set_parameter(name, bias ? value[0] : value[0].t().contiguous());
  }
  EXPECT_LT(largest_difference(logits_of(dense, some_tokens(2, 11)), logits_of(experts, some_tokens(2, 11))), 1e-4);
}

TEST(Transformer, SoftcapBoundsTheLogits) {
  ModelConfig config = small_config();
  const at::Tensor raw = logits_of(small_model(config), some_tokens(1, 9));
  config.logit_softcap = 2;
  const at::Tensor capped = logits_of(small_model(config), some_tokens(1, 9));
  EXPECT_LT(largest_difference(capped, 2 * (raw / 2).tanh()), 1e-5);
}

/// Changes one thing about the small model.
using Change = void (*)(ModelConfig&);

TEST(Transformer, EverySwitchHasAnEffect) {
  const at::Tensor usual = logits_of(small_model(), some_tokens(1, 40));
  const Change changes[] = {
      [](ModelConfig& c) { c.attention_sinks = false; },
      [](ModelConfig& c) { c.attention_bias = false; },
      [](ModelConfig& c) { c.router_bias = false; },
      [](ModelConfig& c) { c.expert_bias = false; },
      [](ModelConfig& c) { c.swiglu_limit = 0; },
      [](ModelConfig& c) { c.swiglu_limit = 0.5; },
      [](ModelConfig& c) { c.qk_norm = true; },
      [](ModelConfig& c) { c.router_softmax = "before"; },
      [](ModelConfig& c) { c.rope.type = "default"; },
      [](ModelConfig& c) { c.rope.theta = 100; },
      [](ModelConfig& c) { c.sliding_window = 0; },
      [](ModelConfig& c) { c.tie_word_embeddings = true; },
      [](ModelConfig& c) {
        c.layer_types = {"full_attention", "full_attention", "sliding_attention", "sliding_attention"};
      },
      [](ModelConfig& c) { c.rms_norm_eps = 1; },
      [](ModelConfig& c) { c.num_dense_layers = 1; },
  };
  const Transformer reference = small_model();
  int number = 0;
  for (const Change change : changes) {
    ModelConfig config = small_config();
    change(config);
    Transformer model = small_model(config);
    for (const auto& [name, shape] : parameter_shapes(config)) {
      const at::Tensor same = parameter(reference, name);
      if (same.defined()) model.set_parameter(name, same);
    }
    const at::Tensor logits = logits_of(model, some_tokens(1, 40));
    EXPECT_TRUE(logits.isfinite().all().item<bool>()) << number;
    EXPECT_GT(largest_difference(logits, usual), 1e-4) << number;
    ++number;
  }
}

TEST(Transformer, RefusesWhatItCannotCompute) {
  const Transformer model = small_model();
  const auto refuses = [&](const at::Tensor& tokens, const ForwardOptions& options = {}) {
    try {
      model.hidden_states(tokens, options);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::usage;
    }
    return false;
  };
  EXPECT_TRUE(refuses(at::full({1, 3}, 61, at::kLong)));
  EXPECT_TRUE(refuses(at::full({1, 3}, -1, at::kLong)));
  EXPECT_TRUE(refuses(some_tokens(1, 513)));
  EXPECT_TRUE(refuses(some_tokens(1, 3).to(at::kInt)));
  EXPECT_TRUE(refuses(at::zeros({3}, at::kLong)));
  EXPECT_TRUE(refuses(at::zeros({1, 0}, at::kLong)));
  ForwardOptions experts;
  experts.num_experts_per_tok = 7;
  EXPECT_TRUE(refuses(some_tokens(1, 3), experts));
  ForwardOptions documents;
  documents.document_ids = at::zeros({1, 4}, at::kLong);
  EXPECT_TRUE(refuses(some_tokens(1, 3), documents));
  ForwardOptions nothing;
  nothing.last_tokens = 0;
  EXPECT_TRUE(refuses(some_tokens(1, 3), nothing));
  ForwardOptions dropout;
  dropout.hidden_dropout = 1.0;
  EXPECT_TRUE(refuses(some_tokens(1, 3), dropout));
  const std::vector<at::Tensor> bias(3, at::zeros({6}));
  ForwardOptions biased;
  biased.router_bias = &bias;
  EXPECT_TRUE(refuses(some_tokens(1, 3), biased));
}

}  // namespace
