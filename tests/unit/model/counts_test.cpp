#include <gtest/gtest.h>

#include "unit/model/small_model.h"
#include "xinslm/config/settings.h"

using namespace xinslm;

namespace {

// openai/gpt-oss model card: parameters in all and used for one token.
TEST(ParameterCounts, AreThoseOfGptOss20b) {
  const ParameterCounts counts = count_parameters(preset_model("gpt-oss-20b"));
  EXPECT_EQ(counts.total, 20'914'757'184);
  EXPECT_EQ(counts.active, 3'608'307'264);
  EXPECT_EQ(counts.expert, 19'110'297'600);
}

TEST(ParameterCounts, AreThoseOfGptOss120b) {
  const ParameterCounts counts = count_parameters(preset_model("gpt-oss-120b"));
  EXPECT_EQ(counts.total, 116'829'156'672);
  EXPECT_EQ(counts.active, 5'132'849'472);
  EXPECT_EQ(counts.expert, 114'661'785'600);
}

TEST(ParameterCounts, ATiedHeadCountsOnceAndIsActive) {
  ModelConfig config = small_config();
  const ParameterCounts untied = count_parameters(config);
  config.tie_word_embeddings = true;
  const ParameterCounts tied = count_parameters(config);
  EXPECT_EQ(untied.total - tied.total, config.vocab_size * config.hidden_size);
  EXPECT_EQ(untied.active, tied.active);
}

TEST(ParameterCounts, AgreeWithTheTensors) {
  for (const bool plain : {false, true}) {
    ModelConfig config = small_config();
    config.qk_norm = plain;
    config.num_dense_layers = plain ? 1 : 0;
    config.attention_bias = config.expert_bias = config.router_bias = config.attention_sinks = !plain;
    const Transformer model(config, at::kCPU, at::kFloat, 1);
    int64_t total = 0;
    for (const auto& [name, tensor] : model.parameters()) total += tensor.numel();
    EXPECT_EQ(count_parameters(config).total, total);
  }
}

TEST(ParameterShapes, AreTheHuggingFaceOnesInModelOrder) {
  const auto shapes = parameter_shapes(small_config());
  EXPECT_EQ(shapes.front().first, "model.embed_tokens.weight");
  EXPECT_EQ(shapes.back().first, "lm_head.weight");
  const std::vector<std::pair<std::string, std::vector<int64_t>>> layer{
      {"input_layernorm.weight", {32}},
      {"self_attn.q_proj.weight", {32, 32}},
      {"self_attn.q_proj.bias", {32}},
      {"self_attn.k_proj.weight", {16, 32}},
      {"self_attn.k_proj.bias", {16}},
      {"self_attn.v_proj.weight", {16, 32}},
      {"self_attn.v_proj.bias", {16}},
      {"self_attn.sinks", {4}},
      {"self_attn.o_proj.weight", {32, 32}},
      {"self_attn.o_proj.bias", {32}},
      {"post_attention_layernorm.weight", {32}},
      {"mlp.router.weight", {6, 32}},
      {"mlp.router.bias", {6}},
      {"mlp.experts.gate_up_proj", {6, 32, 48}},
      {"mlp.experts.gate_up_proj_bias", {6, 48}},
      {"mlp.experts.down_proj", {6, 24, 32}},
      {"mlp.experts.down_proj_bias", {6, 32}},
  };
  for (size_t i = 0; i < layer.size(); ++i) {
    EXPECT_EQ(shapes[1 + i].first, "model.layers.0." + layer[i].first);
    EXPECT_EQ(shapes[1 + i].second, layer[i].second);
  }
  EXPECT_EQ(shapes.size(), 1 + 4 * layer.size() + 2);
}

TEST(ParameterShapes, DeparturesAddAndRemoveTensors) {
  ModelConfig config = small_config();
  config.num_hidden_layers = 1;
  config.num_dense_layers = 1;
  config.dense_intermediate_size = 40;
  config.qk_norm = config.tie_word_embeddings = true;
  config.attention_sinks = config.attention_bias = false;
  const std::vector<std::pair<std::string, std::vector<int64_t>>> expected{
      {"model.embed_tokens.weight", {61, 32}},
      {"model.layers.0.input_layernorm.weight", {32}},
      {"model.layers.0.self_attn.q_proj.weight", {32, 32}},
      {"model.layers.0.self_attn.k_proj.weight", {16, 32}},
      {"model.layers.0.self_attn.v_proj.weight", {16, 32}},
      {"model.layers.0.self_attn.q_norm.weight", {8}},
      {"model.layers.0.self_attn.k_norm.weight", {8}},
      {"model.layers.0.self_attn.o_proj.weight", {32, 32}},
      {"model.layers.0.post_attention_layernorm.weight", {32}},
      {"model.layers.0.mlp.gate_up_proj.weight", {80, 32}},
      {"model.layers.0.mlp.gate_up_proj.bias", {80}},
      {"model.layers.0.mlp.down_proj.weight", {32, 40}},
      {"model.layers.0.mlp.down_proj.bias", {32}},
      {"model.norm.weight", {32}},
  };
  EXPECT_EQ(parameter_shapes(config), expected);
}

}  // namespace
