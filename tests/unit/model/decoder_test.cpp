#include "xinslm/model/decoder.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "unit/model/small_model.h"
#include "xinslm/core/cpu_features.h"
#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

/// Largest difference between the logits of the whole text and those of `prefill` tokens followed by single steps.
double difference_of_steps(const Transformer& model, int64_t count, int64_t prefill, int64_t experts = 0) {
  const at::Tensor tokens = some_tokens(1, count);
  ForwardOptions options;
  options.num_experts_per_tok = experts;
  const at::Tensor whole = model.logits(model.hidden_states(tokens, options))[0];
  KvCache cache(model.config(), 1, at::kCPU, model.type());
  if (prefill > 0) {
    options.kv_cache = &cache;
    model.hidden_states(tokens.narrow(1, 0, prefill), options);
  }
  Decoder decoder(model);
  double worst = 0;
  for (int64_t i = prefill; i < count; ++i) {
    const at::Tensor logits = decoder.step(tokens[0][i].item<int64_t>(), cache, experts);
    worst = std::max(worst, largest_difference(logits, whole[i]));
  }
  EXPECT_EQ(cache.length(), count);
  return worst;
}

Transformer copy_as(const Transformer& model, at::ScalarType type) {
  Transformer copy(model.config(), at::kCPU, type);
  for (const auto& [name, tensor] : model.parameters()) copy.set_parameter(name, tensor);
  return copy;
}

TEST(Decoder, StepsGiveTheLogitsOfTheWholeText) {
  const Transformer model = small_model();  // window 8
  EXPECT_TRUE(Decoder::supports(model));
  EXPECT_LT(difference_of_steps(model, 60, 0), 1e-4);
  EXPECT_LT(difference_of_steps(model, 60, 37), 1e-4);
  EXPECT_LT(difference_of_steps(model, 60, 20, 1), 1e-4);
}

TEST(Decoder, EveryInstructionSetAgrees) {
  const Transformer model = small_model();
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    EXPECT_LT(difference_of_steps(model, 30, 5), 1e-4) << isa_name(isa);
  }
  set_active_isa(before);
}

TEST(Decoder, SharesLongAttentionBetweenThreads) {
  ModelConfig config = small_config();
  config.max_position_embeddings = 1024;
  const Transformer model = small_model(config);
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 5, 8}) {
    at::set_num_threads(threads);
    EXPECT_LT(difference_of_steps(model, 610, 590), 1e-4) << threads;
  }
  at::set_num_threads(before);
}

TEST(Decoder, EveryDepartureWorksWithIt) {
  ModelConfig config = small_config();
  config.qk_norm = true;
  config.attention_sinks = config.attention_bias = config.expert_bias = config.router_bias = false;
  config.num_dense_layers = 1;
  config.router_softmax = "before";
  config.rope.type = "default";
  config.swiglu_limit = 0;
  config.logit_softcap = 15;
  config.tie_word_embeddings = true;
  EXPECT_LT(difference_of_steps(small_model(config), 40, 11), 1e-4);
}

TEST(Decoder, TakesBfloat16WeightsWithoutRoundingActivations) {
  const Transformer exact = small_model();
  const Transformer rounded = copy_as(exact, at::kBFloat16);
  const Transformer widened = copy_as(rounded, at::kFloat);
  const at::Tensor tokens = some_tokens(1, 30);
  KvCache cache(exact.config(), 1, at::kCPU, at::kFloat), other(exact.config(), 1, at::kCPU, at::kFloat);
  Decoder one(rounded), two(widened);
  for (int64_t i = 0; i < 30; ++i) {
    const int64_t token = tokens[0][i].item<int64_t>();
    EXPECT_LT(largest_difference(one.step(token, cache, 0), two.step(token, other, 0)), 1e-4);
  }
}

/// Relative distance of the logits with a cache of that type from those of the whole text.
double distance_with_cache(const Transformer& model, at::ScalarType type, bool by_steps) {
  const at::Tensor tokens = some_tokens(1, 60);
  const at::Tensor whole = model.logits(model.hidden_states(tokens))[0];
  KvCache cache(model.config(), 1, at::kCPU, type);
  ForwardOptions options;
  options.kv_cache = &cache;
  Decoder decoder(model);
  std::vector<at::Tensor> found;
  for (const int64_t count : {7, 1, 20, 1, 1, 30}) {
    const at::Tensor piece = tokens.narrow(1, cache.length(), count);
    if (!by_steps) {
      found.push_back(model.logits(model.hidden_states(piece, options))[0]);
      continue;
    }
    for (int64_t i = 0; i < count; ++i) {
      found.push_back(decoder.step(piece[0][i].item<int64_t>(), cache, 0).clone().unsqueeze(0));
    }
  }
  return ((at::cat(found) - whole).norm() / whole.norm()).item<double>();
}

TEST(Decoder, CachesOfEveryTypeServeStepsAndPieces) {
  ModelConfig config = small_config();  // window 8, sinks
  config.head_dim = 32;
  config.num_experts_per_tok = config.num_experts;  // a choice that turns would hide how small the difference is
  const Transformer model = small_model(config);
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const bool by_steps : {false, true}) {
      EXPECT_LT(distance_with_cache(model, at::kFloat, by_steps), 1e-5) << isa_name(isa);
      EXPECT_LT(distance_with_cache(model, at::kHalf, by_steps), 3e-3) << isa_name(isa);
      EXPECT_LT(distance_with_cache(model, at::kBFloat16, by_steps), 2e-2) << isa_name(isa);
      EXPECT_LT(distance_with_cache(model, at::kChar, by_steps), 7e-2) << isa_name(isa);
    }
  }
  set_active_isa(before);
}

TEST(Decoder, RejectsWhatTheModelDoesNotKnow) {
  const Transformer model = small_model();
  KvCache cache(model.config(), 1, at::kCPU, at::kFloat);
  Decoder decoder(model);
  EXPECT_THROW(decoder.step(model.config().vocab_size, cache, 0), Error);
  EXPECT_THROW(decoder.step(-1, cache, 0), Error);
}

}  // namespace
