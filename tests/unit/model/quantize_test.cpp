#include "xinslm/model/quantize.h"

#include <cmath>

#include "unit/format/temporary_folder.h"
#include "unit/model/small_model.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/decoder.h"
#include "xinslm/model/load.h"
#include "xinslm/quant/q8.h"

using namespace xinslm;
namespace fs = std::filesystem;

namespace {

ModelConfig packable_config() {
  ModelConfig config = small_config();
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.initializer_range = 0.1;
  return config;
}

class Quantize : public TemporaryFolder {
 protected:
  void write(const Transformer& model) const {
    std::filesystem::create_directories(folder_ / "float");
    write_model_config(folder_ / "float", model.config(), "float32");
    write_weights(folder_ / "float", model.parameters());
    write_file(folder_ / "float" / "notes.txt", "kept");
  }
  bool quantize(const QuantizeOptions& options = {}, int64_t stop_after = 1000) {
    reports_.clear();
    return quantize_model(folder_ / "float", folder_ / "packed", options, [&](const QuantizedTensorReport& r, double) {
      reports_.push_back(r);
      return static_cast<int64_t>(reports_.size()) < stop_after;
    });
  }
  Transformer packed() const { return load_model(folder_ / "packed", at::kCPU, at::kFloat); }

  std::vector<QuantizedTensorReport> reports_;
};

double relative_distance(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).pow(2).mean() / expected.pow(2).mean()).sqrt().item<double>();
}

bool is_dense_matrix(const std::string& name, const at::Tensor& tensor) {
  return tensor.dim() == 2 && name.find("router") == std::string::npos && name.find("experts") == std::string::npos;
}

/// The model with each matrix of its experts, and the others too when asked, as its quantised form has it.
Transformer decoded_copy(const Transformer& model, bool dense = false) {
  Transformer copy(model.config(), at::kCPU, at::kFloat);
  for (const auto& [name, tensor] : model.parameters()) {
    if (dense && is_dense_matrix(name, tensor)) {
      const Q8Blocks blocks = quantize_q8(tensor, name);
      copy.set_parameter(name, dequantize_q8(blocks.values, blocks.scales, at::kFloat));
      continue;
    }
    if (!name.ends_with("experts.gate_up_proj") && !name.ends_with("experts.down_proj")) {
      copy.set_parameter(name, tensor);
      continue;
    }
    const Mxfp4Blocks blocks = quantize_mxfp4(tensor.transpose(1, 2).contiguous(), ScaleRule::mse, 32, name);
    copy.set_parameter(name, dequantize_mxfp4(blocks.blocks, blocks.scales, at::kFloat).transpose(1, 2).contiguous());
  }
  return copy;
}

TEST_F(Quantize, APackedModelStaysPackedWhenItIsConverted) {
  write(small_model(packable_config()));
  ASSERT_TRUE(quantize({.dense = DenseForm::q8}));
  const Transformer model = packed(), same = model.converted(at::kCPU, at::kFloat);
  for (const Parameter& parameter : model.table()) {
    EXPECT_EQ(same.is_packed(parameter.name), parameter.packed_as() != PackedAs::none) << parameter.name;
  }
  const at::Tensor tokens = some_tokens(1, 9);
  EXPECT_TRUE(at::equal(same.logits(same.hidden_states(tokens)), model.logits(model.hidden_states(tokens))));
}

TEST_F(Quantize, GivesAModelThatComputesWithTheRoundedWeights) {
  const Transformer model = small_model(packable_config());
  write(model);
  ASSERT_TRUE(quantize());
  EXPECT_EQ(reports_.size(), 8u);  // two matrices in each of four layers
  for (const QuantizedTensorReport& report : reports_) {
    EXPECT_NEAR(report.error.relative_rms(), 0.115, 0.02);
    EXPECT_NEAR(static_cast<double>(report.bytes_after) / static_cast<double>(report.bytes_before), 4.25 / 32, 1e-9);
  }
  EXPECT_EQ(read_file(folder_ / "packed" / "notes.txt"), "kept");
  const at::Tensor tokens = some_tokens(2, 40);
  const Transformer exact = decoded_copy(model);
  const at::Tensor expected = exact.logits(exact.hidden_states(tokens));
  const Transformer loaded = packed();
  const at::Tensor found = loaded.logits(loaded.hidden_states(tokens));
  ForwardOptions every;  // no expert is left out, so rounding sends no token elsewhere
  every.num_experts_per_tok = model.config().num_experts;
  EXPECT_LT(relative_distance(loaded.logits(loaded.hidden_states(tokens, every)),
                              exact.logits(exact.hidden_states(tokens, every))),
            0.02);
  const at::Tensor errors = (found - expected).norm(2, -1) / expected.norm(2, -1);  // of each token
  EXPECT_LT(errors.median().item<double>(), 0.015);
  EXPECT_LE(errors.gt(0.025).sum().item<int64_t>(), 3) << "more than the rounding of activations may send elsewhere";
}

TEST_F(Quantize, StepsGiveTheLogitsOfTheWholeText) {
  write(small_model(packable_config()));
  ASSERT_TRUE(quantize({ScaleRule::spec, 64}));
  const Transformer model = packed();
  ASSERT_TRUE(Decoder::supports(model));
  const at::Tensor tokens = some_tokens(1, 30);
  const at::Tensor whole = model.logits(model.hidden_states(tokens))[0];
  KvCache cache(model.config(), 1, at::kCPU, at::kFloat);
  Decoder decoder(model);
  // The same rounding of activations, but of numbers that differ in their last bits, and so now and then by a step.
  for (int64_t i = 0; i < 30; ++i) {
    EXPECT_LT(largest_difference(decoder.step(tokens[0][i].item<int64_t>(), cache, 0), whole[i]), 2e-2) << i;
  }
}

TEST_F(Quantize, MakesEightBitKeysAndValuesTheUsualOnes) {
  ModelConfig config = packable_config();
  for (const int64_t width : {config.head_dim, int64_t{32}}) {
    config.head_dim = width;
    write(small_model(config));
    fs::remove_all(folder_ / "packed");
    ASSERT_TRUE(quantize());
    EXPECT_EQ(default_kv_type(packed()), width % 32 == 0 ? at::kChar : at::kFloat) << width;
    EXPECT_EQ(default_kv_type(small_model(config)), at::kFloat);
  }
}

TEST_F(Quantize, TakesTheOtherMatricesToEightBitsWhenAsked) {
  for (const bool tied : {false, true}) {
    ModelConfig config = packable_config();
    config.num_dense_layers = 1;
    config.dense_intermediate_size = 96;
    config.tie_word_embeddings = tied;
    config.num_experts_per_tok = config.num_experts;  // rounded activations may turn a close choice
    const Transformer model = small_model(config);
    write(model);
    fs::remove_all(folder_ / "packed");
    ASSERT_TRUE(quantize({.dense = DenseForm::q8}));
    const Transformer loaded = packed(), exact = decoded_copy(model, true);
    EXPECT_TRUE(loaded.is_packed("model.embed_tokens.weight"));
    EXPECT_TRUE(loaded.is_packed("model.layers.0.mlp.down_proj.weight"));
    EXPECT_FALSE(loaded.is_packed("model.layers.1.mlp.router.weight"));
    const at::Tensor tokens = some_tokens(1, 40);
    const at::Tensor hidden = loaded.hidden_states(tokens), whole = loaded.logits(hidden)[0];
    EXPECT_LT(relative_distance(whole, exact.logits(exact.hidden_states(tokens))[0]), 0.03);

    at::Tensor greedy;
    const at::Tensor next = at::randint(config.vocab_size, {40}, at::kLong);
    const at::Tensor found = loaded.token_log_probabilities(hidden[0], next, &greedy);
    EXPECT_LT(largest_difference(found, whole.log_softmax(-1).gather(1, next.unsqueeze(1)).squeeze(1)), 1e-5);
    EXPECT_TRUE(at::equal(greedy, whole.argmax(-1).eq(next)));

    ASSERT_TRUE(Decoder::supports(loaded));
    KvCache cache(config, 1, at::kCPU, at::kFloat);
    Decoder decoder(loaded);
    for (int64_t i = 0; i < 40; ++i) {
      EXPECT_LT(relative_distance(decoder.step(tokens[0][i].item<int64_t>(), cache, 0), whole[i]), 2e-2) << i;
    }
  }
}

TEST_F(Quantize, AttentionAloneAndShorterFloatsArePossible) {
  write(small_model(packable_config()));
  ASSERT_TRUE(quantize({.dense = DenseForm::attention}));
  EXPECT_TRUE(packed().is_packed("model.layers.2.self_attn.o_proj.weight"));
  EXPECT_FALSE(packed().is_packed("lm_head.weight"));
  fs::remove_all(folder_ / "packed");
  ASSERT_TRUE(quantize({.dense = DenseForm::bfloat16}));
  for (const auto& [name, tensor] : read_weights(folder_ / "packed")) {
    const bool router = name.find("router") != std::string::npos;
    if (!router && !is_dense_matrix(name, tensor)) continue;
    EXPECT_EQ(tensor.scalar_type(), router ? at::kFloat : at::kBFloat16) << name;
  }
}

TEST_F(Quantize, LeavesNothingBehindWhenStopped) {
  write(small_model(packable_config()));
  EXPECT_FALSE(quantize({}, 3));
  EXPECT_FALSE(fs::exists(folder_ / "packed"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(Quantize, RejectsWhatItCannotPack) {
  Transformer model = small_model(packable_config());
  const std::string name = "model.layers.1.mlp.experts.down_proj";
  at::Tensor broken = parameter(model, name).clone();
  broken[2][3][4] = std::nan("");
  model.set_parameter(name, broken);
  write(model);
  try {
    quantize();
    FAIL() << "NaN was packed";
  } catch (const Error& problem) {
    EXPECT_NE(std::string(problem.what()).find(name + "[2]"), std::string::npos) << problem.what();
  }
  EXPECT_FALSE(fs::exists(folder_ / "packed"));
  write(small_model());  // widths of 32 and 24
  EXPECT_THROW(quantize(), Error);
  write(small_model(packable_config()));
  ASSERT_TRUE(quantize());
  EXPECT_THROW(quantize_model(folder_ / "packed", folder_ / "again", {}, [](const auto&, double) { return true; }),
               Error);
}

}  // namespace
