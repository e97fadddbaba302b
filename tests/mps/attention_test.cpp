#include "xinslm/ops/attention.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "mps/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Case {
  int64_t batch, heads, kv_heads, queries, keys, width, window;
  bool sinks = false, documents = false;
};

/// query, key, value, sinks, document ids; `keys` at least `queries`
Tensors inputs_of(const Case& c) {
  Tensors inputs = {normal({c.batch, c.heads, c.queries, c.width}, 1),
                    normal({c.batch, c.kv_heads, c.keys, c.width}, 2),
                    normal({c.batch, c.kv_heads, c.keys, c.width}, 3),
                    {},
                    {}};
  if (c.sinks) inputs[3] = normal({c.heads}, 4);
  if (c.documents) {
    const at::Tensor position = at::arange(c.keys, at::TensorOptions().dtype(at::kLong));
    inputs[4] = (position.div(37, "floor") * 10000000019).repeat({c.batch, 1});
    inputs[4][0].copy_(position.div(23, "floor").remainder(2));  // a document that goes on after another
  }
  return inputs;
}

Operator fast(int64_t window) {
  return [=](const Tensors& t) { return attention(t[0], t[1], t[2], t[3], window, t[4]); };
}
Operator reference(int64_t window) {
  return [=](const Tensors& t) { return attention_ref(t[0], t[1], t[2], t[3], window, t[4]); };
}

std::string described(const Case& c) {
  std::ostringstream text;
  text << "Q " << c.heads << " K " << c.kv_heads << " T " << c.queries << " S " << c.keys << " D " << c.width
       << " window " << c.window << " sinks " << c.sinks << " documents " << c.documents;
  return text.str();
}

void expect_trained(const Case& c) {
  SCOPED_TRACE(described(c));
  expect_metal_matches(fast(c.window), reference(c.window), inputs_of(c), {3}, "attention_key_value_backward");
}

/// Without gradients, where the keys may be split.
void expect_inferred(const Case& c, const std::string& kernel) {
  SCOPED_TRACE(described(c));
  const at::NoGradGuard no_grad;
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    Tensors rounded = inputs_of(c), exact = rounded;
    for (size_t i = 0; i < 3; ++i) {
      rounded[i] = rounded[i].to(type);
      exact[i] = rounded[i].to(at::kFloat);
    }
    const at::Tensor expected = reference(c.window)(exact);
    const SimulatedMetal metal;
    EXPECT_LE(distance(fast(c.window)(rounded), expected), type == at::kFloat ? 2e-5 : 1e-2) << type;
    EXPECT_TRUE(std::ranges::any_of(metal.launches(), [&](const auto& l) { return l.kernel.starts_with(kernel); }))
        << kernel << " never ran";
  }
}

}  // namespace

TEST(MetalAttention, MatchesReferenceOnOddSizes) {
  expect_trained({1, 1, 1, 1, 1, 32, 0});
  expect_trained({2, 3, 1, 7, 7, 32, 0, true});
  expect_trained({1, 4, 2, 33, 33, 64, 0, true});
  expect_trained({1, 2, 2, 67, 67, 64, 0});
  expect_trained({1, 8, 1, 13, 13, 80, 0, true});
  expect_trained({1, 5, 1, 19, 19, 128, 0, true});
}

TEST(MetalAttention, MatchesReferenceWithWindows) {
  expect_trained({1, 2, 1, 40, 40, 32, 1, true});
  expect_trained({1, 2, 1, 67, 67, 32, 31, true});
  expect_trained({1, 3, 1, 67, 67, 64, 32});
  expect_trained({1, 2, 1, 35, 35, 32, 500, true});
}

TEST(MetalAttention, MatchesReferenceWithMoreKeysThanQueries) {
  expect_trained({2, 2, 1, 5, 75, 32, 0, true});
  expect_trained({1, 6, 2, 9, 100, 64, 20, true});
}

TEST(MetalAttention, MatchesReferenceWithinDocuments) {
  expect_trained({2, 2, 1, 67, 67, 32, 0, true, true});
  expect_trained({2, 2, 1, 67, 67, 32, 40, false, true});
  expect_trained({2, 4, 2, 20, 90, 64, 0, true, true});
}

TEST(MetalAttention, PadsHeadsThatAreNoWholePieces) {
  expect_trained({1, 2, 1, 9, 9, 6, 0, true});
  expect_trained({1, 2, 1, 35, 40, 36, 0, true});
}

TEST(MetalAttention, DecodesOneTokenOverSplitKeys) {
  expect_inferred({1, 8, 1, 1, 300, 64, 0, true}, "attention_combine");
  expect_inferred({1, 8, 2, 1, 515, 64, 0}, "attention_combine");
  expect_inferred({2, 3, 3, 1, 400, 128, 0, true}, "attention_combine");
  expect_inferred({1, 4, 2, 1, 300, 32, 0, false, true}, "attention_combine");
}

TEST(MetalAttention, InfersFewQueriesOverManyKeys) {
  expect_inferred({1, 4, 1, 2, 300, 64, 0, true}, "attention_forward_64_8_");
  expect_inferred({1, 4, 1, 5, 300, 64, 270, true}, "attention_combine");
  expect_inferred({1, 4, 1, 1, 127, 64, 128, true}, "attention_forward_64_8_");
  expect_inferred({1, 4, 1, 30, 290, 64, 0, true, true}, "attention_combine");
}

TEST(MetalAttention, TakesViewsWithAnyStrides) {
  const at::NoGradGuard no_grad;
  Tensors inputs = inputs_of({2, 4, 2, 20, 20, 16, 9, true});
  const at::Tensor expected = attention_ref(inputs[0], inputs[1], inputs[2], inputs[3], 9, {});
  for (size_t i = 0; i < 3; ++i) inputs[i] = inputs[i].transpose(1, 2).contiguous().transpose(1, 2);
  const SimulatedMetal metal;
  EXPECT_LE(distance(attention(inputs[0], inputs[1], inputs[2], inputs[3], 9, {}), expected), 2e-5);
  const at::Tensor wide = at::cat({inputs[1], inputs[1]}, 3);
  EXPECT_LE(
      distance(attention(inputs[0], wide.narrow(3, 1, 16).copy_(inputs[1]), inputs[2], inputs[3], 9, {}), expected),
      2e-5);
  inputs[1] = inputs[1].transpose(2, 3).contiguous().transpose(2, 3);
  EXPECT_LE(distance(attention(inputs[0], inputs[1], inputs[2], inputs[3], 9, {}), expected), 2e-5);
}

TEST(MetalAttention, TwoRunsAgreeToTheBit) {
  const Tensors inputs = inputs_of({1, 6, 2, 41, 41, 64, 30, true});
  const SimulatedMetal metal;
  const Tensors once = forward_and_backward(fast(30), inputs), again = forward_and_backward(fast(30), inputs);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(once[i].equal(again[i])) << i;
}

TEST(MetalAttention, StaysFiniteWithVeryLargeScores) {
  Tensors inputs = inputs_of({1, 2, 1, 40, 40, 32, 0, true});
  inputs[0] = inputs[0] * 100;
  inputs[1] = inputs[1] * 100;
  const SimulatedMetal metal;
  for (const at::Tensor& result : forward_and_backward(fast(0), inputs)) {
    EXPECT_TRUE(result.isfinite().all().item<bool>());
  }
}

TEST(MetalAttention, LetsNotANumberThrough) {
  const at::NoGradGuard no_grad;
  Tensors inputs = inputs_of({1, 2, 1, 40, 40, 32, 0, true});
  inputs[1][0][0][3][5] = std::nan("");
  const SimulatedMetal metal;
  EXPECT_TRUE(attention(inputs[0], inputs[1], inputs[2], inputs[3], 0, {}).isnan().any().item<bool>());
}

TEST(MetalAttention, HasNoKernelsForHeadsThatAreTooWide) {
  const Tensors inputs = inputs_of({1, 2, 1, 3, 3, 136, 0});
  const SimulatedMetal metal;
  EXPECT_LE(distance(fast(0)(inputs), reference(0)(inputs)), 2e-5);
  EXPECT_TRUE(metal.launches().empty());
}

TEST(MetalAttention, OneTokenIsOneLaunchOrTwo) {
  const at::NoGradGuard no_grad;
  const Tensors few = inputs_of({1, 8, 1, 1, 100, 64, 0, true}), many = inputs_of({1, 8, 1, 1, 300, 64, 0, true});
  {
    const SimulatedMetal metal;
    fast(0)(few);
    EXPECT_EQ(metal.launches().size(), 1u);
  }
  const SimulatedMetal metal;
  fast(0)(many);
  EXPECT_EQ(metal.launches().size(), 2u);
}
