#include "xinslm/ops/moe.h"

#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>

#include "mps/check.h"
#include "ops/mps/product.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Sizes {
  int64_t tokens, hidden, width, experts, k;
};

/// x, routing weights, gate_up, down, gate_up's bias, down's bias
Tensors inputs_of(const Sizes& s, bool biases) {
  Tensors inputs = {normal({s.tokens, s.hidden}, 1),
                    normal({s.tokens, s.k}, 2).softmax(-1),
                    normal({s.experts, s.hidden, 2 * s.width}, 3) * 0.3,
                    normal({s.experts, s.width, s.hidden}, 5) * 0.3,
                    {},
                    {}};
  if (biases) {
    inputs[4] = normal({s.experts, 2 * s.width}, 4);
    inputs[5] = normal({s.experts, s.hidden}, 6);
  }
  return inputs;
}

/// A value that is rounded across the clamp's limit gains or loses its gradient.
constexpr Tolerance clamped{.float32 = 2e-5, .bfloat16 = 0.1};

void expect_experts_match(const Sizes& s, const at::Tensor& chosen, bool biases, double limit) {
  SCOPED_TRACE(::testing::Message() << s.tokens << " tokens, " << s.experts << " experts, biases " << biases
                                    << ", limit " << limit);
  const auto with = [&](auto op) {
    return [&, op](const Tensors& t) {
      return op(t[0], Routing{chosen, t[1]}, ExpertWeights{t[2], t[4], t[3], t[5]}, limit);
    };
  };
  using Op = at::Tensor (*)(const at::Tensor&, const Routing&, const ExpertWeights&, double);
  const Operator fast = with(static_cast<Op>(moe_experts)), reference = with(static_cast<Op>(moe_experts_ref));
  const Tensors inputs = inputs_of(s, biases);
  expect_metal_matches(fast, reference, inputs, {1, 4, 5}, "gate_up_dense", clamped);
  const at::Tensor expected = reference(inputs);
  const SimulatedMetal metal;
  EXPECT_LE(distance(fast(inputs), expected), 2e-5);
}

/// k different experts for each token, never one of the last `unused`.
at::Tensor choices_of(const Sizes& s, int64_t unused) {
  return std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1));
}

/// What the operator does on other devices.
Routing route_by_topk(const at::Tensor& logits, int64_t k, bool before, const at::Tensor& bias) {
  const at::Tensor score = bias.defined() ? logits.detach() + bias : logits.detach();
  const at::Tensor chosen = std::get<1>(score.topk(k, -1));
  return {chosen, before ? logits.softmax(-1).gather(1, chosen) : logits.gather(1, chosen).softmax(-1)};
}

}  // namespace

TEST(MetalExperts, MatchTheReferenceOnOddSizes) {
  for (const Sizes& s : {Sizes{37, 20, 11, 4, 2}, {1, 16, 16, 4, 4}, {67, 24, 20, 3, 2}, {5, 7, 33, 2, 1}}) {
    expect_experts_match(s, choices_of(s, 0), true, 7.0);
    expect_experts_match(s, choices_of(s, s.experts - s.k), false, 0.0);
  }
}

TEST(MetalExperts, MatchTheReferenceWithOneTokenInOneExpertAndTheRestInAnother) {
  const Sizes s{66, 24, 16, 5, 1};
  at::Tensor chosen = at::full({s.tokens, 1}, 3, at::kLong);
  chosen[17][0] = 1;
  expect_experts_match(s, chosen, true, 7.0);
}

TEST(MetalExperts, WithoutTokensGetZeroGradient) {
  const SimulatedMetal metal;
  const Sizes s{10, 8, 6, 4, 2};
  Tensors t = inputs_of(s, true);
  for (at::Tensor& one : t) one.requires_grad_(true);
  moe_experts(t[0], {choices_of(s, 2), t[1]}, {t[2], t[4], t[3], t[5]}, 7.0).sum().backward();
  for (const size_t i : {2, 3, 4, 5}) {
    EXPECT_EQ(t[i].grad().narrow(0, 2, 2).abs().max().item<double>(), 0.0) << i;
    EXPECT_GT(t[i].grad().narrow(0, 0, 2).abs().max().item<double>(), 0.0) << i;
  }
}

TEST(MetalExperts, AreSortedAsAStableSortDoes) {
  const SimulatedMetal metal;
  for (const int64_t tokens : {1, 31, 300, 1100}) {
    const int64_t experts = 7, k = 3;
    const at::Tensor chosen = choices_of({tokens, 0, 0, experts, k}, 1);
    const mps::SortedChoices sorted = mps::sort_choices(chosen, experts);
    const auto expected = at::sort(chosen.flatten(), std::optional<bool>(true), 0, false);
    EXPECT_TRUE(sorted.choices.equal(std::get<1>(expected).to(at::kInt)));
    EXPECT_TRUE(sorted.places.index({sorted.choices.to(at::kLong)}).equal(at::arange(tokens * k, at::kInt)));
    at::Tensor covered = at::zeros({tokens * k}, at::kInt);
    for (int64_t tile = 0; tile < sorted.tiles.size(0); ++tile) {
      const int64_t expert = sorted.tiles[tile][0].item<int64_t>(), first = sorted.tiles[tile][1].item<int64_t>();
      const int64_t count = sorted.tiles[tile][2].item<int64_t>() - first;
      if (count <= 0) continue;
      EXPECT_TRUE(std::get<0>(expected).narrow(0, first, count).eq(expert).all().item<bool>());
      covered.narrow(0, first, count).add_(1);
    }
    EXPECT_TRUE(covered.eq(1).all().item<bool>());
  }
}

TEST(MetalSwiglu, MatchesReferenceOnOddSizes) {
  for (const double limit : {0.0, 1.0, 7.0}) {
    const Operator fast = [=](const Tensors& t) { return swiglu(t[0], limit); };
    const Operator reference = [=](const Tensors& t) { return swiglu_ref(t[0], limit); };
    expect_metal_matches(fast, reference, {normal({3, 7, 46}, 1) * 3}, {}, "swiglu_forward");
    expect_metal_matches(fast, reference, {normal({20, 128}, 1) * 3}, {}, "swiglu_backward");
  }
}

TEST(MetalSwiglu, LetsNotANumberThrough) {
  const SimulatedMetal metal;
  for (const double limit : {0.0, 7.0}) {
    for (const int64_t place : {0, 1}) {
      at::Tensor x = normal({1, 64}, 1);
      x[0][place] = std::nan("");
      EXPECT_TRUE(swiglu(x, limit)[0][0].isnan().item<bool>()) << limit << " " << place;
    }
  }
}

TEST(MetalRoute, MatchesTheReferenceWithItsGradient) {
  const SimulatedMetal metal;
  for (const auto& [tokens, experts, k] :
       std::vector<std::array<int64_t, 3>>{{1, 4, 1}, {13, 6, 2}, {5, 33, 4}, {3, 130, 32}}) {
    for (const bool before : {false, true}) {
      for (const bool biased : {false, true}) {
        const at::Tensor bias = biased ? normal({experts}, 3) : at::Tensor();
        at::Tensor logits = normal({tokens, experts}, 1).requires_grad_(true);
        const Routing found = moe_route(logits, k, before, bias), expected = route_by_topk(logits, k, before, bias);
        EXPECT_TRUE(found.chosen.equal(expected.chosen));
        EXPECT_LT(distance(found.weights, expected.weights), 1e-6);
        const at::Tensor grad = normal({tokens, k}, 2);
        const auto of = [&](const at::Tensor& weights) {
          return torch::autograd::grad({weights}, {logits}, {grad})[0];
        };
        EXPECT_LT(distance(of(found.weights), of(expected.weights)), 1e-5);
      }
    }
  }
  EXPECT_EQ(metal.count("route"), 16);
}

TEST(MetalRoute, FindsDifferentExpertsAmongEqualsInfinitiesAndNotANumbers) {
  const SimulatedMetal metal;
  const float infinite = std::numeric_limits<float>::infinity(), none = std::nanf("");
  const at::Tensor logits = at::tensor({1.0f, 1.0f, 1.0f, 1.0f, none, -infinite, none, -infinite, -infinite, -infinite,
                                        -infinite, -infinite, 0.0f, infinite, infinite, none})
                                .view({4, 4});
  const at::Tensor chosen = moe_route(logits, 3, false, {}).chosen;
  const at::Tensor expected = at::tensor({0, 1, 2, 0, 2, 1, 0, 1, 2, 1, 2, 3}, at::kLong).view({4, 3});
  EXPECT_TRUE(chosen.equal(expected)) << chosen;
}
