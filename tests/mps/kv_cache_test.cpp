#include "xinslm/model/kv_cache.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <vector>

#include "mps/check.h"
#include "unit/model/small_model.h"
#include "xinslm/ops/stored_heads.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

ModelConfig wide_config() {
  ModelConfig config = small_config();  // a window of 8 in every second layer
  config.num_hidden_layers = 2;
  config.head_dim = 32;
  return config;
}

/// What both layers attend to when 60 tokens come in pieces, with a cache of the type given.
at::Tensor attended(at::ScalarType kept, at::ScalarType computed) {
  const ModelConfig config = wide_config();
  const at::Tensor queries = normal({1, 4, 60, 32}, 1, computed), keys = normal({1, 2, 60, 32}, 2, computed),
                   values = normal({1, 2, 60, 32}, 3, computed), sinks = normal({4}, 4);
  KvCache cache(config, 1, at::kCPU, kept);
  std::vector<at::Tensor> outputs;
  int64_t done = 0;
  for (const int64_t piece : {3, 1, 1, 20, 1, 9, 1, 24}) {
    const auto part = [&](const at::Tensor& x) { return x.narrow(2, done, piece); };
    for (int64_t layer = 0; layer < 2; ++layer) {
      const auto [seen_keys, seen_values] = cache.append(layer, part(keys), part(values));
      outputs.push_back(attention(part(queries), seen_keys, seen_values, sinks, config.window(layer)));
    }
    cache.advance(piece);
    done += piece;
  }
  return at::cat(outputs, 2).to(at::kFloat);
}

}  // namespace

TEST(MetalKvCache, EveryTypeIsAttendedToInPieces) {
  const at::NoGradGuard no_grad;
  for (const auto computed : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor expected = attended(at::kFloat, computed);
    for (const auto kept : {at::kFloat, at::kBFloat16, at::kHalf, at::kChar}) {
      const SimulatedMetal metal;
      const double allowed = computed == at::kFloat && kept == at::kFloat ? 2e-5 : 3e-2;
      EXPECT_LE(distance(attended(kept, computed), expected), allowed) << kept << " in " << computed;
      const bool has_quantised = std::any_of(metal.launches().begin(), metal.launches().end(), [](const auto& launch) {
        return launch.kernel.starts_with("quantize_heads_");
      });
      EXPECT_EQ(has_quantised, kept == at::kChar);
    }
  }
}
