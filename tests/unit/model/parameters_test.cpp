#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "unit/model/small_model.h"
#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

TEST(Initialisation, DependsOnTheSeedAloneAndNotOnTheThreads) {
  ModelConfig config = small_config();
  config.vocab_size = 9000;  // several chunks
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Transformer one(config, at::kCPU, at::kFloat, 7);
  at::set_num_threads(2);
  const Transformer two(config, at::kCPU, at::kFloat, 7);
  const Transformer other(config, at::kCPU, at::kFloat, 8);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(one.parameters()[i].second, two.parameters()[i].second)) << one.parameters()[i].first;
  }
  EXPECT_FALSE(at::equal(one.parameters()[0].second, other.parameters()[0].second));
}

TEST(Initialisation, HasTheDeviationsItPromises) {
  ModelConfig config = small_config();
  config.hidden_size = 256;
  config.initializer_range = 0.02;
  const Transformer model(config, at::kCPU, at::kFloat, 3);
  const auto deviation = [&](const char* name) { return parameter(model, name).std().item<double>(); };
  EXPECT_NEAR(deviation("model.embed_tokens.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("model.layers.1.mlp.experts.gate_up_proj"), 0.02, 0.001);
  const double residual = 0.02 / std::sqrt(8.0);  // 2 * 4 layers
  EXPECT_NEAR(deviation("model.layers.1.mlp.experts.down_proj"), residual, 0.001);
  EXPECT_NEAR(deviation("model.layers.1.self_attn.o_proj.weight"), residual, 0.001);
  EXPECT_TRUE(at::equal(parameter(model, "model.norm.weight"), at::ones({256})));
  EXPECT_TRUE(at::equal(parameter(model, "model.layers.0.self_attn.sinks"), at::zeros({4})));
  EXPECT_TRUE(at::equal(parameter(model, "model.layers.0.mlp.router.bias"), at::zeros({6})));
}

TEST(Parameters, OnlyMatricesAreKeptInBfloat16) {
  const Transformer model(small_config(), at::kCPU, at::kBFloat16, 1);
  EXPECT_EQ(parameter(model, "model.embed_tokens.weight").scalar_type(), at::kBFloat16);
  EXPECT_EQ(parameter(model, "model.layers.0.self_attn.q_proj.weight").scalar_type(), at::kBFloat16);
  EXPECT_EQ(parameter(model, "model.layers.0.mlp.experts.down_proj").scalar_type(), at::kBFloat16);
  for (const char* name : {"model.norm.weight", "model.layers.0.self_attn.sinks",
                           "model.layers.0.self_attn.q_proj.bias", "model.layers.0.mlp.router.weight",
                           "model.layers.0.mlp.router.bias", "model.layers.0.mlp.experts.gate_up_proj_bias"}) {
    EXPECT_EQ(parameter(model, name).scalar_type(), at::kFloat) << name;
  }
}

TEST(Parameters, SettingOneChangesTheModelAndKeepsItLearning) {
  Transformer model = small_model();
  model.require_grad(true);
  const at::Tensor before = model.hidden_states(some_tokens(1, 5)).detach();
  model.set_parameter("model.norm.weight", at::full({32}, 2.0F));
  EXPECT_TRUE(parameter(model, "model.norm.weight").requires_grad());
  EXPECT_GT(largest_difference(model.hidden_states(some_tokens(1, 5)), before), 0.1);
}

/// The row of that name.
Parameter row(const ModelConfig& config, const std::string& name) {
  for (const Parameter& parameter : parameter_table(config)) {
    if (parameter.name == name) return parameter;
  }
  throw std::runtime_error(name);
}

TEST(ParameterTable, SaysOfEachWhatItIsHowItIsOptimisedAndPacked) {
  ModelConfig config = small_config();
  config.qk_norm = true;
  config.num_dense_layers = 1;
  struct Case {
    const char* name;
    ParameterRole role;
    OptimizerGroup group;
    PackedAs packed;
  };
  using enum ParameterRole;
  for (const Case& expected : {
           Case{"model.embed_tokens.weight", embedding, OptimizerGroup::table, PackedAs::q8},
           Case{"lm_head.weight", head, OptimizerGroup::table, PackedAs::q8},
           Case{"model.norm.weight", gain, OptimizerGroup::vector, PackedAs::none},
           Case{"model.layers.0.mlp.gate_up_proj.weight", dense, OptimizerGroup::matrix, PackedAs::q8},
           Case{"model.layers.0.mlp.down_proj.bias", bias, OptimizerGroup::vector, PackedAs::none},
           Case{"model.layers.1.mlp.router.weight", router, OptimizerGroup::table, PackedAs::none},
           Case{"model.layers.1.mlp.router.bias", bias, OptimizerGroup::vector, PackedAs::none},
           Case{"model.layers.1.mlp.experts.gate_up_proj", expert, OptimizerGroup::matrix, PackedAs::mxfp4},
           Case{"model.layers.1.mlp.experts.gate_up_proj_bias", bias, OptimizerGroup::vector, PackedAs::none},
           Case{"model.layers.1.self_attn.q_proj.weight", attention, OptimizerGroup::matrix, PackedAs::q8},
           Case{"model.layers.1.self_attn.q_norm.weight", gain, OptimizerGroup::vector, PackedAs::none},
           Case{"model.layers.1.self_attn.sinks", sink, OptimizerGroup::vector, PackedAs::none},
       }) {
    const Parameter found = row(config, expected.name);
    EXPECT_EQ(found.role, expected.role) << expected.name;
    EXPECT_EQ(found.group(), expected.group) << expected.name;
    EXPECT_EQ(found.packed_as(), expected.packed) << expected.name;
    EXPECT_TRUE(found.trained) << expected.name;
  }
  EXPECT_EQ(row(config, "model.layers.3.self_attn.sinks").layer, 3);
  EXPECT_EQ(row(config, "lm_head.weight").layer, -1);
}

TEST(ParameterTable, SaysOfAModelWhatItHolds) {
  const Transformer model = small_model();
  ASSERT_EQ(model.table().size(), model.parameters().size());
  for (size_t i = 0; i < model.table().size(); ++i) {
    const auto& [name, tensor] = model.parameters()[i];
    EXPECT_EQ(model.table()[i].name, name);
    EXPECT_EQ(at::IntArrayRef(model.table()[i].shape), tensor.sizes());
  }
}

TEST(Parameters, ConvertedModelsShareWhatIsOfTheirTypeAlready) {
  Transformer model = small_model();
  model.train_only([](const Parameter& parameter) { return parameter.layer == 1; });
  model.require_grad(true);
  const Transformer half = model.converted(at::kCPU, at::kBFloat16);
  EXPECT_EQ(half.type(), at::kBFloat16);
  for (size_t i = 0; i < model.table().size(); ++i) {
    const at::Tensor &from = model.parameters()[i].second, &to = half.parameters()[i].second;
    const bool matrix = model.table()[i].in_model_type();
    EXPECT_EQ(to.scalar_type(), matrix ? at::kBFloat16 : at::kFloat);
    EXPECT_EQ(to.data_ptr() == from.data_ptr(), !matrix);
    EXPECT_TRUE(at::equal(to, from.detach().to(to.scalar_type())));
    EXPECT_FALSE(to.requires_grad());
    EXPECT_EQ(half.table()[i].trained, model.table()[i].trained);
  }
  ModelConfig other = small_config();
  other.attention_sinks = false;
  EXPECT_THROW(model.converted(other, at::kCPU, at::kFloat), Error);
}

TEST(Parameters, AWrongShapeOrNameIsAnErrorThatNamesIt) {
  Transformer model = small_model();
  try {
    model.set_parameter("model.norm.weight", at::ones({31}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_STREQ(error.what(), "tensor model.norm.weight is [31], expected [32]");
  }
  EXPECT_THROW(model.set_parameter("model.nrom.weight", at::ones({32})), Error);
}

TEST(Parameters, AModelWithoutWeightsSaysSoWhenUsed) {
  const Transformer model(small_config(), at::kCPU, at::kFloat);
  EXPECT_THROW(model.hidden_states(some_tokens(1, 3)), Error);
}

TEST(Parameters, OtherTypesThanFloat32AndBfloat16AreRefused) {
  EXPECT_THROW(Transformer(small_config(), at::kCPU, at::kHalf, 1), Error);
}

TEST(Parameters, TiedHeadIsTheEmbedding) {
  ModelConfig config = small_config();
  config.tie_word_embeddings = true;
  const Transformer model = small_model(config);
  EXPECT_TRUE(model.head().weight.is_same(parameter(model, "model.embed_tokens.weight")));
}

}  // namespace
