#include "xinslm/model/token_work.h"

#include <gtest/gtest.h>

#include "xinslm/config/settings.h"
#include "xinslm/model/transformer.h"

using namespace xinslm;

namespace {

TokenWork part(const std::vector<TokenWork>& parts, const std::string& name) {
  for (const TokenWork& one : parts) {
    if (one.part == name) return one;
  }
  return {};
}

}  // namespace

// gpt-oss-20b: 64 query heads of 64 and 8 key heads, 4 of 32 experts of 2880 in each of 24 layers.
TEST(TokenWork, OfGptOss20bIsCountedByHand) {
  const ModelConfig config = preset_model("gpt-oss-20b");
  const auto parts = token_work(config, 1023);
  EXPECT_EQ(part(parts, "query, key, value").parameters, 24 * 2880 * (64 + 16) * 64);
  EXPECT_EQ(part(parts, "experts").parameters, 24LL * 4 * 3 * 2880 * 2880);
  EXPECT_EQ(part(parts, "experts").bytes16, 24ll * 4 * 3 * 2880 * 2880 / 32 * 17);
  EXPECT_EQ(part(parts, "head").bytes8, 201088ll * 2880 / 32 * 34);
  EXPECT_EQ(part(parts, "attention").bytes16, 2 * 2 * (12 * 128 + 12 * 1024) * 8 * 64);
  EXPECT_DOUBLE_EQ(part(parts, "attention").flops, 4.0 * (12 * 128 + 12 * 1024) * 64 * 64);
}

TEST(TokenWork, HasAllActiveMatrices) {
  const ModelConfig config = preset_model("light");
  const TokenWork all = total_work(token_work(config, 0));
  const auto keys = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim;
  const int64_t matrices = all.parameters - keys;
  const int64_t active = count_parameters(config).active;  // gains, biases and sinks too
  EXPECT_LT(matrices, active);
  EXPECT_GT(static_cast<double>(matrices), 0.99 * static_cast<double>(active));
}
