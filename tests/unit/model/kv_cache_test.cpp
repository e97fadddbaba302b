#include "xinslm/model/kv_cache.h"

#include <gtest/gtest.h>

#include "unit/model/small_model.h"
#include "xinslm/core/cpu_features.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/stored_heads.h"

using namespace xinslm;

namespace {

/// Logits of the whole text, computed in pieces of the given sizes with a cache.
at::Tensor logits_in_pieces(const Transformer& model, const at::Tensor& tokens, KvCache& cache,
                            const std::vector<int64_t>& pieces) {
  ForwardOptions options;
  options.kv_cache = &cache;
  std::vector<at::Tensor> parts;
  int64_t done = 0;
  for (const int64_t piece : pieces) {
    parts.push_back(model.logits(model.hidden_states(tokens.narrow(1, done, piece), options)));
    done += piece;
  }
  EXPECT_EQ(cache.length(), done);
  return at::cat(parts, 1);
}

KvCache new_cache(const Transformer& model, int64_t batch) {
  return KvCache(model.config(), batch, at::kCPU, at::kFloat);
}

std::vector<int64_t> ones(int64_t count) {
  return std::vector<int64_t>(static_cast<size_t>(count), 1);
}

TEST(KvCache, PiecesGiveTheLogitsOfTheWholeText) {
  const Transformer model = small_model();  // window 8
  const at::Tensor tokens = some_tokens(2, 60);
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{60},
                                             ones(60),
                                             {30, 30},
                                             {7, 1, 1, 8, 9, 1, 16, 17},
                                             {1, 59},
                                             {5, 40, 15},
                                             {16, 1, 15, 28}}) {
    KvCache cache = new_cache(model, 2);
    EXPECT_LT(largest_difference(logits_in_pieces(model, tokens, cache, pieces), whole), 1e-4);
  }
}

TEST(KvCache, PiecesWhoseOutputNobodyWantsAreKeptLikeOthers) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(2, 60), whole = model.logits(model.hidden_states(tokens));
  KvCache cache = new_cache(model, 2);
  ForwardOptions options;
  options.kv_cache = &cache;
  options.last_tokens = 0;
  EXPECT_EQ(model.hidden_states(tokens.narrow(1, 0, 41), options).size(1), 0);
  EXPECT_EQ(cache.length(), 41);
  options.last_tokens = 3;
  const at::Tensor found = model.logits(model.hidden_states(tokens.narrow(1, 41, 19), options));
  EXPECT_LT(largest_difference(found, whole.narrow(1, 57, 3)), 1e-4);
}

TEST(KvCache, EightBitsTakeLessAndNeedWholeBlocks) {
  ModelConfig config = small_config();
  EXPECT_THROW(KvCache(config, 1, at::kCPU, at::kChar), Error);  // heads of 8
  EXPECT_THROW(KvCache(config, 1, at::kCPU, at::kLong), Error);
  config.head_dim = 32;
  KvCache wide(config, 1, at::kCPU, at::kFloat), narrow(config, 1, at::kCPU, at::kChar);
  for (KvCache* cache : {&wide, &narrow}) {
    const at::Tensor x = at::randn({1, config.num_key_value_heads, 5, 32});
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) cache->append(layer, x, x);
  }
  EXPECT_EQ(narrow.bytes() * 32, wide.bytes() * 9);  // 36 bytes for 128
}

/// Keys as projections give them, heads behind tokens in memory, at a place in the middle of a cache.
TEST(KvCache, EightBitsAreWithinHalfAStepByEveryInstructionSet) {
  const Isa before = active_isa();
  const at::Tensor x = at::randn({2, 7, 3, 96}).transpose(1, 2);
  const at::Tensor room = at::full({2, 3, 20, 96}, 55, at::kChar), scales = at::full({2, 3, 20}, 55.0);
  const StoredHeads place{room.narrow(2, 4, 7), scales.narrow(2, 4, 7)};
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      store_heads(x.to(type), x.to(type), place, place);
      EXPECT_TRUE(room.narrow(2, 0, 4).eq(55).all().item<bool>() && room.narrow(2, 11, 9).eq(55).all().item<bool>());
      const at::Tensor step = x.to(type).to(at::kFloat).abs().amax(-1) / 127;
      EXPECT_LT(largest_difference(place.scales, step), 1e-6) << isa_name(isa);
      const at::Tensor errors = (load_heads(place, at::kFloat) - x.to(type)).abs().amax(-1);
      EXPECT_LT((errors / step).max().item<double>(), 0.501) << isa_name(isa);
      EXPECT_TRUE(load_heads(place, at::kBFloat16).equal(load_heads(place, at::kFloat).to(at::kBFloat16)));
    }
  }
  set_active_isa(before);
}

TEST(KvCache, PrefillThenStepsGoBeyondTheFirstCapacity) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 300);
  std::vector<int64_t> pieces = ones(60);
  pieces.insert(pieces.begin(), 240);
  KvCache cache = new_cache(model, 1);
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  EXPECT_LT(largest_difference(logits_in_pieces(model, tokens, cache, pieces), whole), 1e-4);
}

TEST(KvCache, EveryDepartureWorksWithIt) {
  ModelConfig config = small_config();
  config.qk_norm = true;
  config.attention_sinks = false;
  config.num_dense_layers = 1;
  config.router_softmax = "before";
  config.rope.type = "default";
  const Transformer model = small_model(config);
  const at::Tensor tokens = some_tokens(1, 40);
  KvCache cache = new_cache(model, 1);
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  EXPECT_LT(largest_difference(logits_in_pieces(model, tokens, cache, {20, 1, 1, 1, 17}), whole), 1e-4);
}

TEST(KvCache, WindowedLayersKeepOnlyTwoWindows) {
  ModelConfig config = small_config();
  config.layer_types = std::vector<std::string>(4, "sliding_attention");
  const Transformer model = small_model(config);
  KvCache cache = new_cache(model, 1);
  logits_in_pieces(model, some_tokens(1, 500), cache, {200, 100, 1, 1, 1, 197});
  EXPECT_LE(cache.bytes(), 4 * 2 * 2 * 8 * 2 * 8 * int64_t{sizeof(float)});  // layers, k and v, heads, width, windows
}

TEST(KvCache, TruncatedItContinuesAsIfNothingHadFollowed) {
  ModelConfig config = small_config();
  config.sliding_window = 0;
  const Transformer model = small_model(config);
  const at::Tensor tokens = some_tokens(1, 50);
  KvCache cache = new_cache(model, 1);
  logits_in_pieces(model, some_tokens(2, 50).narrow(0, 1, 1), cache, {20});
  cache.clear();
  const at::Tensor first = logits_in_pieces(model, tokens, cache, {30, 20});
  ASSERT_TRUE(cache.truncate(30));
  EXPECT_EQ(cache.length(), 30);
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor again = model.logits(model.hidden_states(tokens.narrow(1, 30, 20), options));
  EXPECT_LT(largest_difference(again, first.narrow(1, 30, 20)), 1e-5);
}

TEST(KvCache, TruncationBeyondAWindowIsRefusedAndChangesNothing) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 50);
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  KvCache cache = new_cache(model, 1);
  logits_in_pieces(model, tokens.narrow(1, 0, 40), cache, {40});
  EXPECT_FALSE(cache.truncate(20));
  EXPECT_EQ(cache.length(), 40);
  EXPECT_TRUE(cache.truncate(39));  // one token back is always there
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor rest = model.logits(model.hidden_states(tokens.narrow(1, 39, 11), options));
  EXPECT_LT(largest_difference(rest, whole.narrow(1, 39, 11)), 1e-4);
}

TEST(KvCache, TruncationWithinTheFirstWindowsWorks) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 16);
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  KvCache cache = new_cache(model, 1);
  logits_in_pieces(model, tokens, cache, {16});
  ASSERT_TRUE(cache.truncate(3));
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor rest = model.logits(model.hidden_states(tokens.narrow(1, 3, 13), options));
  EXPECT_LT(largest_difference(rest, whole.narrow(1, 3, 13)), 1e-4);
}

TEST(KvCache, APassThatFailedHalfWayLeavesNoTrace) {
  const Transformer model = small_model();
  const at::Tensor tokens = some_tokens(1, 20);
  KvCache cache = new_cache(model, 1);
  logits_in_pieces(model, tokens.narrow(1, 0, 10), cache, {10});
  const at::Tensor lost = at::ones({1, 2, 3, 8});
  cache.append(0, lost, lost);  // only one layer came this far
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor rest = model.logits(model.hidden_states(tokens.narrow(1, 10, 10), options));
  const at::Tensor whole = model.logits(model.hidden_states(tokens));
  EXPECT_LT(largest_difference(rest, whole.narrow(1, 10, 10)), 1e-4);
}

TEST(KvCache, RefusesAnotherBatch) {
  const Transformer model = small_model();
  KvCache cache = new_cache(model, 2);
  ForwardOptions options;
  options.kv_cache = &cache;
  EXPECT_THROW(model.hidden_states(some_tokens(3, 4), options), Error);
}

TEST(KvCache, APassWithItRecordsNoGradients) {
  Transformer model = small_model();
  model.require_grad(true);
  KvCache cache = new_cache(model, 1);
  ForwardOptions options;
  options.kv_cache = &cache;
  EXPECT_FALSE(model.hidden_states(some_tokens(1, 4), options).requires_grad());
}

}  // namespace
