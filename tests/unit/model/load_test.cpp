#include "xinslm/model/load.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "unit/format/temporary_folder.h"
#include "unit/model/small_model.h"
#include "xinslm/core/file.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/json.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/decoder.h"

using namespace xinslm;

namespace {

/// Stands for a tokenizer whose only file is a name.
class NoTokenizer : public Tokenizer {
 public:
  int64_t vocab_size() const override { return 61; }
  std::vector<TokenId> encode(std::string_view, bool) const override { return {}; }
  std::string token_bytes(TokenId) const override { return ""; }
  std::optional<TokenId> special_id(std::string_view) const override { return std::nullopt; }
  bool is_special(TokenId) const override { return false; }
  void save(const std::filesystem::path& folder) const override { write_file(folder / "tokenizer.model", "words"); }
  std::string fingerprint() const override { return "none"; }
};

class LoadModel : public TemporaryFolder {
 protected:
  void save(const Transformer& model) const { save_model(folder_, model, NoTokenizer()); }
  void change_weights(const std::function<void(NamedTensors&)>& change) const {
    NamedTensors weights;
    for (const auto& [name, tensor] : read_weights(folder_)) weights.emplace_back(name, tensor.clone());
    change(weights);
    write_weights(folder_, weights);
  }
  std::string problem() const {
    const std::string message = data_error_of([&] { load_model(folder_, at::kCPU, at::kFloat); });
    EXPECT_TRUE(contains(message, folder_.string())) << message;
    return message;
  }
};

TEST_F(LoadModel, GivesBackWhatWasSaved) {
  for (const bool departures : {false, true}) {
    ModelConfig config = small_config();
    config.tie_word_embeddings = config.qk_norm = departures;
    config.num_dense_layers = departures ? 2 : 0;
    const Transformer model = small_model(config);
    save(model);
    const Transformer again = load_model(folder_, at::kCPU, at::kFloat);
    EXPECT_EQ(again.parameters().size(), model.parameters().size());
    EXPECT_TRUE(at::equal(again.hidden_states(some_tokens(1, 20)), model.hidden_states(some_tokens(1, 20))));
  }
  EXPECT_EQ(read_file(folder_ / "tokenizer.model"), "words");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "generation_config.json"));
}

TEST_F(LoadModel, LargeMatricesMoveOutOfTheMapOneAtATime) {
  ModelConfig config = small_config();
  config.vocab_size = static_cast<int64_t>(huge_page_bytes) / config.hidden_size / 4;
  const Transformer model = small_model(config);
  save(model);
  const Transformer again = load_model(folder_, at::kCPU, at::kFloat);
  EXPECT_TRUE(again.move_next_matrices());
  EXPECT_FALSE(again.move_next_matrices());
  for (const auto& [name, tensor] : again.parameters()) EXPECT_EQ(is_mapped(tensor), name != "lm_head.weight") << name;
  EXPECT_FALSE(is_mapped(again.head().weight));
  EXPECT_TRUE(at::equal(again.head().weight, model.head().weight));
  EXPECT_TRUE(at::equal(parameter(again, "model.embed_tokens.weight"), parameter(model, "model.embed_tokens.weight")));
}

TEST_F(LoadModel, Bfloat16MatricesBecomeCompactWithoutChange) {
  ModelConfig config = small_config();
  config.vocab_size = 2100;
  config.hidden_size = 64;
  config.tie_word_embeddings = true;
  save(Transformer(config, at::kCPU, at::kBFloat16, 5));
  Transformer model = load_model(folder_, at::kCPU, at::kBFloat16);
  const Transformer copy = model;
  const at::Tensor tokens = some_tokens(1, 20), mapped = model.head().weight.clone();
  const int64_t bytes = bytes_read_per_token(model, 0, 0, at::kFloat);
  const int64_t row = config.num_key_value_heads * config.num_hidden_layers * config.head_dim;  // of keys or values
  EXPECT_EQ(bytes_read_per_token(model, 0, 1, at::kBFloat16), bytes + 2 * row * 2);
  EXPECT_EQ(bytes_read_per_token(model, 0, 1, at::kFloat), bytes + 2 * row * 4);
  const auto logits = [&](const Transformer& of, int64_t count) {
    return of.logits(of.hidden_states(tokens.narrow(1, 0, count)));
  };
  const auto stepped = [&] {
    KvCache cache(config, 1, at::kCPU, at::kBFloat16);
    Decoder decoder(model);
    for (int64_t i = 0; i < 3; ++i) decoder.step(tokens[0][i].item<int64_t>(), cache, 0);
    return decoder.step(tokens[0][3].item<int64_t>(), cache, 0).clone();
  };
  const at::Tensor few = logits(model, 2), many = logits(model, 20), step = stepped();
  EXPECT_TRUE(model.move_next_matrices());
  EXPECT_FALSE(model.move_next_matrices());
  ASSERT_TRUE(model.head().is_compact() && copy.head().is_compact());
  EXPECT_TRUE(at::equal(model.head().compact->restore(), mapped));
  EXPECT_LT(bytes_read_per_token(model, 0, 0, at::kFloat), bytes - 2100 * 64 / 3);
  EXPECT_TRUE(at::equal(logits(model, 20), many));
  EXPECT_LT(largest_difference(logits(model, 2), few), 1e-2 * few.abs().max().item<double>());
  EXPECT_LT(largest_difference(stepped(), step), 1e-5);
  model.set_parameter("model.embed_tokens.weight", mapped + 1);
  EXPECT_FALSE(model.head().is_compact());
  EXPECT_TRUE(copy.head().is_compact());
  EXPECT_GT(largest_difference(logits(model, 20), many), 0.1);
}

TEST_F(LoadModel, WhatLearnsIsNotCompact) {
  ModelConfig config = small_config();
  config.vocab_size = 2100;
  config.hidden_size = 64;
  save(Transformer(config, at::kCPU, at::kBFloat16, 5));
  Transformer model = load_model(folder_, at::kCPU, at::kBFloat16);
  EXPECT_TRUE(model.move_next_matrices());
  EXPECT_TRUE(model.head().is_compact());
  model.require_grad(true);
  EXPECT_FALSE(model.head().is_compact());
}

TEST_F(LoadModel, WeightsStayMappedUntilTheyAreToLearn) {
  save(small_model());
  Transformer model = load_model(folder_, at::kCPU, at::kFloat);
  for (const auto& [name, tensor] : model.parameters()) EXPECT_TRUE(is_mapped(tensor)) << name;
  model.require_grad(true);
  const at::NoGradGuard no_gradients;
  for (const auto& [name, tensor] : model.parameters()) {
    EXPECT_TRUE(tensor.is_leaf() && tensor.requires_grad()) << name;
    at::Tensor(tensor).add_(1);  // would end the program on a read-only page
  }
}

TEST_F(LoadModel, ConvertsBetweenFloat32AndBfloat16) {
  const Transformer model(small_config(), at::kCPU, at::kBFloat16, 1);
  save(model);
  EXPECT_EQ(read_json(folder_ / "config.json")["dtype"], "bfloat16");
  const Transformer wide = load_model(folder_, at::kCPU, at::kFloat);
  for (size_t i = 0; i < wide.parameters().size(); ++i) {
    EXPECT_EQ(wide.parameters()[i].second.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(wide.parameters()[i].second, model.parameters()[i].second.to(at::kFloat)));
  }
  const Transformer narrow = load_model(folder_, at::kCPU, at::kBFloat16);
  EXPECT_EQ(parameter(narrow, "model.norm.weight").scalar_type(), at::kFloat);
  EXPECT_EQ(parameter(narrow, "lm_head.weight").scalar_type(), at::kBFloat16);
}

TEST_F(LoadModel, NamesWhatIsMissingMisshapenOrForeign) {
  save(small_model());
  change_weights([](NamedTensors& weights) { weights.erase(weights.begin() + 3); });
  EXPECT_TRUE(contains(problem(), " is missing"));
  save(small_model());
  change_weights([](NamedTensors& weights) { weights[0].second = at::zeros({60, 32}); });
  EXPECT_TRUE(contains(problem(), "is [60, 32], expected [61, 32]")) << problem();
  save(small_model());
  change_weights([](NamedTensors& weights) { weights.emplace_back("model.layers.9.extra", at::zeros({1})); });
  EXPECT_TRUE(contains(problem(), "model.layers.9.extra does not belong"));
  save(small_model());
  change_weights([](NamedTensors& weights) {
    weights.emplace_back("model.layers.0.mlp.experts.gate_up_proj_scales", at::zeros({1}, at::kByte));
  });
  EXPECT_TRUE(contains(problem(), "_blocks is missing")) << problem();
  save(small_model());
  change_weights([](NamedTensors& weights) { weights[0].second = at::zeros({61, 32}, at::kLong); });
  EXPECT_TRUE(contains(problem(), "expected floating point"));
}

TEST_F(LoadModel, AStoredTiedHeadIsPassedOver) {
  ModelConfig config = small_config();
  config.tie_word_embeddings = true;
  const Transformer model = small_model(config);
  save(model);
  change_weights([](NamedTensors& weights) { weights.emplace_back("lm_head.weight", weights[0].second.clone()); });
  EXPECT_EQ(load_model(folder_, at::kCPU, at::kFloat).parameters().size(), model.parameters().size());
}

TEST_F(LoadModel, AMissingFolderIsNamed) {
  const auto nowhere = folder_ / "nowhere";
  EXPECT_TRUE(contains(data_error_of([&] { load_model(nowhere, at::kCPU, at::kFloat); }), "nowhere"));
}

}  // namespace
