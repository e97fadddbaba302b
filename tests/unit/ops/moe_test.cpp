#include "xinslm/ops/moe.h"

#include <cmath>

#include "ops/cpu/moe.h"
#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Sizes {
  int64_t tokens, hidden, width, experts, k;
};

/// x, routing weights, gate_up, its bias, down, its bias
Tensors inputs_of(const Sizes& s, bool biases) {
  Tensors inputs = {normal({s.tokens, s.hidden}, 1),
                    normal({s.tokens, s.k}, 2).softmax(-1),
                    normal({s.experts, s.hidden, 2 * s.width}, 3) * 0.3,
                    {},
                    normal({s.experts, s.width, s.hidden}, 5) * 0.3,
                    {}};
  if (biases) {
    inputs[3] = normal({s.experts, 2 * s.width}, 4);
    inputs[5] = normal({s.experts, s.hidden}, 6);
  }
  return inputs;
}

/// k different experts for each token, never one of the last `unused`.
at::Tensor choices_of(const Sizes& s, int64_t unused) {
  return std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1));
}

using Experts = at::Tensor (*)(const at::Tensor&, const Routing&, const ExpertWeights&, double);
Operator with_choices(Experts op, const at::Tensor& chosen, double limit) {
  return [=](const Tensors& t) { return op(t[0], {chosen, t[1]}, {t[2], t[3], t[4], t[5]}, limit); };
}

void expect_experts_match(const Sizes& s, int64_t unused, bool biases, double limit) {
  SCOPED_TRACE(::testing::Message() << s.tokens << " tokens, unused " << unused << ", biases " << biases << ", limit "
                                    << limit);
  const at::Tensor chosen = choices_of(s, unused);
  expect_matches(with_choices(moe_experts, chosen, limit), with_choices(moe_experts_ref, chosen, limit),
                 inputs_of(s, biases), {1, 3, 5}, {.float32 = 5e-5, .bfloat16 = 3e-2});
}

}  // namespace

TEST(MoeExperts, FrozenMatricesGetNoGradientAndTheOthersTheSame) {
  const Sizes sizes{17, 24, 20, 5, 2};
  const at::Tensor chosen = choices_of(sizes, 1);
  const auto gradients = [&](bool frozen) {
    Tensors inputs = inputs_of(sizes, true);
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].requires_grad_(!frozen || (i != 2 && i != 4));
    moe_experts(inputs[0], {chosen, inputs[1]}, {inputs[2], inputs[3], inputs[4], inputs[5]}, 7).sum().backward();
    Tensors found;
    for (const at::Tensor& input : inputs) found.push_back(input.grad());
    return found;
  };
  const Tensors all = gradients(false), some = gradients(true);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == 2 || i == 4) {
      EXPECT_FALSE(some[i].defined());
    } else {
      EXPECT_TRUE(at::equal(some[i], all[i])) << i;
    }
  }
}

TEST(MoeExperts, MatricesWhoseGradientNobodyWantsHaveNoRoomForIt) {
  const Sizes sizes{9, 24, 20, 4, 2};
  const at::Tensor chosen = choices_of(sizes, 0);
  const Tensors t = inputs_of(sizes, false);
  const cpu::MoeInput input{t[0], chosen, t[1], {t[2], {}, t[4], {}}, 7, false, false};
  const cpu::SortedChoices sorted(chosen, t[1].contiguous(), sizes.experts);
  const auto found = cpu::moe_backward(input, sorted, cpu::moe_forward(input, sorted).gate_up, at::ones_like(t[0]));
  EXPECT_FALSE(found.experts.gate_up.defined());
  EXPECT_FALSE(found.experts.down.defined());
  EXPECT_TRUE(found.x.defined());
}

TEST(MoeExperts, MatchReferenceOnOddSizes) {
  expect_experts_match({37, 20, 11, 4, 2}, 0, true, 7.0);
  expect_experts_match({300, 48, 40, 8, 3}, 0, false, 0.0);
  expect_experts_match({1, 16, 16, 4, 4}, 0, true, 7.0);
}

TEST(MoeExperts, MatchReferenceWhenExpertsHaveNoTokens) {
  expect_experts_match({50, 24, 16, 6, 2}, 3, true, 7.0);
  expect_experts_match({9, 24, 16, 6, 1}, 5, true, 7.0);
}

TEST(MoeExperts, WithoutTokensGetZeroGradient) {
  const Sizes s{10, 8, 6, 4, 2};
  const auto results = forward_and_backward(with_choices(moe_experts, choices_of(s, 2), 7.0), inputs_of(s, true));
  for (const size_t gradient : {3, 4, 5, 6}) {
    EXPECT_EQ(results[gradient].narrow(0, 2, 2).abs().max().item<double>(), 0.0) << gradient;
    EXPECT_GT(results[gradient].narrow(0, 0, 2).abs().max().item<double>(), 0.0) << gradient;
  }
}

// Each expert multiplies by its own number, so the sum over the chosen shows that no choice is lost, however crowded an
// expert is.
TEST(MoeExperts, DropNoTokenHoweverCrowded) {
  const int64_t tokens = 1000;
  const at::Tensor chosen = at::tensor({int64_t{2}, int64_t{0}}).repeat({tokens, 1});
  const at::Tensor gate_up_bias = at::tensor({40.0f, 1.0f}).repeat({3, 1});  // swiglu of it is 40
  const at::Tensor down_bias = at::tensor({1.0f, 10.0f, 100.0f}).view({3, 1});
  const ExpertWeights experts{at::zeros({3, 1, 2}), gate_up_bias, at::zeros({3, 1, 1}), down_bias};
  const at::Tensor out = moe_experts(at::ones({tokens, 1}), {chosen, at::ones({tokens, 2})}, experts, 0);
  EXPECT_TRUE(out.eq(101).all().item<bool>());
}

TEST(MoeExperts, GradientMatchesFiniteDifferences) {
  const Sizes s{5, 3, 2, 3, 2};
  expect_gradient_is_difference(with_choices(moe_experts, choices_of(s, 0), 7.0), inputs_of(s, true));
  expect_gradient_is_difference(with_choices(moe_experts, choices_of(s, 0), 0.0), inputs_of(s, false));
}

TEST(MoeExperts, RejectWhatDoesNotFit) {
  const Sizes s{4, 8, 6, 3, 2};
  const Tensors t = inputs_of(s, true);
  at::Tensor chosen = choices_of(s, 0);
  expect_usage_error([&] { moe_experts(t[0], {chosen, t[1]}, {t[2], t[3], t[2], t[5]}, 7); }, "[E, I, H]");
  expect_usage_error([&] { moe_experts(t[0], {chosen.narrow(0, 0, 3), t[1]}, {t[2], t[3], t[4], t[5]}, 7); }, "N = 4");
  expect_usage_error([&] { moe_experts(t[0], {chosen, t[1]}, {t[2], t[5], t[4], t[5]}, 7); }, "biases are not");
  chosen = chosen.clone();
  chosen[2][1] = 3;
  expect_usage_error(
      [&] {
        moe_experts(t[0], {chosen, t[1]}, {t[2], t[3], t[4], t[5]}, 7);
      },
      "token 2 has chosen expert 3 of 3");
}

TEST(Swiglu, MatchesReferenceOnOddSizes) {
  for (const double limit : {0.0, 1.0, 7.0}) {
    const Operator fast = [=](const Tensors& t) { return swiglu(t[0], limit); };
    const Operator reference = [=](const Tensors& t) { return swiglu_ref(t[0], limit); };
    expect_matches(fast, reference, {normal({3, 7, 46}, 1) * 3});
    expect_matches(fast, reference, {normal({200, 128}, 1) * 3});
    expect_gradient_is_difference(fast, {normal({3, 8}, 1)});
  }
}

TEST(Swiglu, LetsNotANumberThrough) {
  for (const double limit : {0.0, 7.0}) {
    for (const int64_t place : {0, 1}) {
      at::Tensor x = normal({1, 64}, 1);
      x[0][place] = std::nan("");
      EXPECT_TRUE(swiglu(x, limit)[0][0].isnan().item<bool>()) << limit << " " << place;
    }
  }
}

TEST(MoeRoute, PicksTheLargestAndWeighsThemByTheirSoftmax) {
  const at::Tensor logits = at::tensor({0.0f, 3.0f, 1.0f, 2.0f}).view({1, 4});
  const Routing after = moe_route(logits, 2, false, {});
  EXPECT_TRUE(after.chosen.equal(at::tensor({int64_t{1}, int64_t{3}}).view({1, 2})));
  EXPECT_NEAR(after.weights[0][0].item<double>(), 1 / (1 + std::exp(-1.0)), 1e-6);
  const Routing before = moe_route(logits, 2, true, {});
  EXPECT_NEAR(before.weights[0][0].item<double>(), logits.softmax(-1)[0][1].item<double>(), 1e-6);
}

TEST(MoeRoute, SelectionBiasChangesTheChoiceAndNotTheWeights) {
  const at::Tensor logits = at::tensor({0.0f, 3.0f, 1.0f, 2.0f}).view({1, 4});
  const Routing routing = moe_route(logits, 2, true, at::tensor({10.0f, 0.0f, 0.0f, 0.0f}));
  EXPECT_TRUE(routing.chosen.equal(at::tensor({int64_t{0}, int64_t{1}}).view({1, 2})));
  EXPECT_NEAR(routing.weights[0][0].item<double>(), logits.softmax(-1)[0][0].item<double>(), 1e-6);
}

TEST(MoeRoute, GradientMatchesFiniteDifferences) {
  for (const bool before : {false, true}) {
    expect_gradient_is_difference([=](const Tensors& t) { return moe_route(t[0], 2, before, {}).weights; },
                                  {normal({5, 6}, 1)});
  }
}

TEST(MoeRoute, OneExpertGetsAGradientOnlyWithTheSoftmaxBefore) {
  const auto gradient = [](bool before) {
    return forward_and_backward([=](const Tensors& t) { return moe_route(t[0], 1, before, {}).weights; },
                                {normal({5, 6}, 1)})[1]
        .abs()
        .max()
        .item<double>();
  };
  EXPECT_EQ(gradient(false), 0.0);
  EXPECT_GT(gradient(true), 0.0);
}

TEST(MoeRoute, RejectsMoreExpertsThanThereAre) {
  expect_usage_error([] { moe_route(normal({2, 4}, 1), 5, false, {}); }, "5 experts a token of 4");
}
