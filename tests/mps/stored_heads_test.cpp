#include "xinslm/ops/stored_heads.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <utility>

#include "mps/check.h"
#include "xinslm/ops/attention.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// Room for so many tokens, filled with what must not be read.
StoredHeads integers_for(int64_t batch, int64_t heads, int64_t tokens, int64_t width) {
  return {at::full({batch, heads, tokens, width}, 99, at::TensorOptions().dtype(at::kChar)),
          at::full({batch, heads, tokens}, std::nan(""), at::TensorOptions().dtype(at::kFloat))};
}

StoredHeads part(const StoredHeads& heads, int64_t first, int64_t count) {
  return {heads.values.narrow(2, first, count), heads.scales.narrow(2, first, count)};
}

at::Tensor largest_of_rows(const at::Tensor& x) {
  return x.to(at::kFloat).abs().amax(-1);
}

}  // namespace

TEST(MetalStoredHeads, AreWhatTheReferenceStores) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    at::Tensor x = normal({2, 5, 3, 96}, 1, type).transpose(1, 2);  // tokens before heads, as projections give them
    x[1][2][4].zero_();
    const at::Tensor y = normal({2, 3, 5, 96}, 2, type);
    const StoredHeads keys = integers_for(2, 3, 12, 96), values = integers_for(2, 3, 12, 96);
    store_heads(x, y, part(keys, 4, 5), part(values, 4, 5));
    const StoredHeads found = integers_for(2, 3, 12, 96), found_values = integers_for(2, 3, 12, 96);
    const SimulatedMetal metal;
    store_heads(x, y, part(found, 4, 5), part(found_values, 4, 5));
    ASSERT_EQ(metal.launches().size(), 1u);
    for (const auto& [a, b] : {std::pair(found, keys), std::pair(found_values, values)}) {
      EXPECT_TRUE(a.scales.nan_to_num(-1).equal(b.scales.nan_to_num(-1)));
      EXPECT_LE((a.values - b.values).abs().max().item<int64_t>(), 1);  // a half may round either way
    }
    const at::Tensor error = load_heads(part(found, 4, 5), at::kFloat) - x.to(at::kFloat);
    EXPECT_TRUE((error.abs().amax(-1) <= largest_of_rows(x) / 254 * 1.001).all().item<bool>());
  }
}

TEST(MetalStoredHeads, OfEveryMagnitudeAreWithinHalfAStep) {
  for (const double magnitude : {0.0, 1e-44, 1e-38, 1e-36, 1e-29, 1e-12, 1.0, 1e12, 1e36}) {
    SCOPED_TRACE(magnitude);
    const at::Tensor x = normal({1, 2, 3, 64}, 1) * magnitude;
    const StoredHeads heads = integers_for(1, 2, 3, 64);
    const SimulatedMetal metal;
    store_heads(x, x, heads, integers_for(1, 2, 3, 64));
    const at::Tensor error = (load_heads(heads, at::kFloat) - x).abs().amax(-1);
    if (magnitude < 1e-30) {
      EXPECT_TRUE(heads.values.eq(0).all().item<bool>());
    } else {
      EXPECT_TRUE((error <= largest_of_rows(x) / 254 * 1.001).all().item<bool>());
    }
  }
}

TEST(MetalStoredHeads, TellsOfNotANumber) {
  at::Tensor x = normal({1, 1, 2, 64}, 1);
  x[0][0][1][40] = std::nan("");
  const StoredHeads heads = integers_for(1, 1, 2, 64);
  const SimulatedMetal metal;
  store_heads(x, x, heads, integers_for(1, 1, 2, 64));
  const at::Tensor loaded = load_heads(heads, at::kFloat);
  EXPECT_TRUE(loaded[0][0][1].isnan().all().item<bool>());
  EXPECT_FALSE(loaded[0][0][0].isnan().any().item<bool>());
}

TEST(MetalStoredHeads, AttentionReadsThemAsTheyAre) {
  const at::NoGradGuard no_grad;
  struct Case {
    int64_t batch, heads, kv_heads, queries, keys, width, window;
  };
  for (const Case& c : {Case{1, 8, 1, 1, 300, 64, 0}, Case{2, 4, 2, 1, 37, 32, 0}, Case{1, 3, 1, 1, 45, 96, 20},
                        Case{1, 4, 2, 23, 90, 64, 0}, Case{1, 5, 1, 40, 66, 128, 31}}) {
    SCOPED_TRACE(::testing::Message() << "T " << c.queries << " S " << c.keys << " D " << c.width);
    const StoredHeads keys = part(integers_for(c.batch, c.kv_heads, c.keys + 9, c.width), 3, c.keys);
    const StoredHeads values = part(integers_for(c.batch, c.kv_heads, c.keys + 9, c.width), 3, c.keys);
    const auto numbers = [&](uint64_t seed) { return normal({c.batch, c.kv_heads, c.keys, c.width}, seed); };
    store_heads(numbers(1), numbers(2), keys, values);
    const at::Tensor sinks = normal({c.heads}, 3);
    for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const at::Tensor query = normal({c.batch, c.heads, c.queries, c.width}, 4, type);
      const at::Tensor expected = attention_ref(query.to(at::kFloat), load_heads(keys, at::kFloat),
                                                load_heads(values, at::kFloat), sinks, c.window, {});
      const SimulatedMetal metal;
      EXPECT_LE(distance(attention(query, keys, values, sinks, c.window), expected), type == at::kFloat ? 2e-5 : 2e-2);
      ASSERT_FALSE(metal.launches().empty());
      EXPECT_TRUE(metal.launches()[0].kernel.starts_with("attention_forward_q8_")) << metal.launches()[0].kernel;
    }
  }
}

TEST(MetalStoredHeads, OfTheSameTypeAreStoredInOneLaunch) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor keys = normal({2, 4, 3, 10}, 1, type).transpose(1, 2), values = normal({2, 3, 4, 10}, 2, type);
    const StoredHeads key_room{at::zeros({2, 3, 9, 10}, type), {}}, value_room{at::zeros({2, 3, 9, 10}, type), {}};
    const auto middle = [](const StoredHeads& room) { return StoredHeads{room.values.narrow(2, 3, 4), {}}; };
    const SimulatedMetal metal;
    store_heads(keys, values, middle(key_room), middle(value_room));
    EXPECT_EQ(metal.launches().size(), 1u);
    EXPECT_TRUE(middle(key_room).values.equal(keys));
    EXPECT_TRUE(middle(value_room).values.equal(values));
    EXPECT_EQ(key_room.values.narrow(2, 0, 3).abs().max().item<double>(), 0.0);
    EXPECT_EQ(key_room.values.narrow(2, 7, 2).abs().max().item<double>(), 0.0);
  }
}

TEST(MetalStoredHeads, PlainOnesAreGivenToAttention) {
  const at::NoGradGuard no_grad;
  const at::Tensor query = normal({1, 4, 3, 32}, 1), keys = normal({1, 2, 20, 32}, 2),
                   values = normal({1, 2, 20, 32}, 3);
  const at::Tensor expected = attention_ref(query, keys.to(at::kHalf).to(at::kFloat), values, {}, 0, {});
  const SimulatedMetal metal;
  EXPECT_LE(distance(attention(query, {keys.to(at::kHalf), {}}, {values, {}}, {}, 0), expected), 2e-5);
}
