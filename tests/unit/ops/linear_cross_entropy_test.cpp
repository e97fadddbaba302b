#include "xinslm/ops/linear_cross_entropy.h"

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// hidden, weight, targets with every fifth ignored when asked
Tensors inputs_of(int64_t tokens, int64_t hidden, int64_t vocabulary, bool ignored) {
  at::Tensor targets = at::arange(tokens, at::TensorOptions().dtype(at::kLong)).mul(7).remainder(vocabulary);
  if (ignored) targets.slice(0, 1, tokens, 5).fill_(ignored_target);
  return {normal({tokens, hidden}, 1), normal({vocabulary, hidden}, 2), targets};
}

using Loss = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, double, double);
Operator with_settings(Loss op, double smoothing, double softcap) {
  return [=](const Tensors& t) { return op(t[0], t[1], t[2], smoothing, softcap); };
}

}  // namespace

TEST(LinearCrossEntropy, MatchesReferenceOnOddSizes) {
  for (const double smoothing : {0.0, 0.1}) {
    for (const double softcap : {0.0, 15.0}) {
      SCOPED_TRACE(::testing::Message() << "smoothing " << smoothing << " softcap " << softcap);
      expect_matches(with_settings(linear_cross_entropy, smoothing, softcap),
                     with_settings(linear_cross_entropy_ref, smoothing, softcap), inputs_of(37, 24, 101, false));
    }
  }
}

TEST(LinearCrossEntropy, MatchesReferenceOverSeveralChunksWithIgnoredTargets) {
  expect_matches(with_settings(linear_cross_entropy, 0, 0), with_settings(linear_cross_entropy_ref, 0, 0),
                 inputs_of(1300, 16, 64, true));
}

TEST(LinearCrossEntropy, GradientMatchesFiniteDifferences) {
  expect_gradient_is_difference(with_settings(linear_cross_entropy, 0, 0), inputs_of(6, 4, 9, true));
  expect_gradient_is_difference(with_settings(linear_cross_entropy, 0.1, 5), inputs_of(6, 4, 9, false));
}

TEST(LinearCrossEntropy, AFrozenWeightLeavesTheOtherGradientAsItIs) {
  const Tensors inputs = inputs_of(37, 24, 101, true);
  const auto gradient_of_hidden = [&](bool frozen) {
    const at::Tensor hidden = inputs[0].clone().requires_grad_(true);
    const at::Tensor weight = inputs[1].clone().requires_grad_(!frozen);
    linear_cross_entropy(hidden, weight, inputs[2], 0, 0).backward();
    EXPECT_EQ(weight.grad().defined(), !frozen);
    return hidden.grad();
  };
  EXPECT_TRUE(at::equal(gradient_of_hidden(true), gradient_of_hidden(false)));
}

TEST(LinearCrossEntropy, OfNothingButIgnoredTargetsIsZero) {
  Tensors inputs = inputs_of(4, 8, 5, false);
  inputs[2].fill_(ignored_target);
  for (const at::Tensor& result : forward_and_backward(with_settings(linear_cross_entropy, 0, 0), inputs)) {
    EXPECT_EQ(result.abs().max().item<double>(), 0.0);
  }
}

TEST(LinearCrossEntropy, LetsNotANumberThrough) {
  Tensors inputs = inputs_of(40, 8, 50, false);
  inputs[0][7][3] = std::nan("");
  EXPECT_TRUE(linear_cross_entropy(inputs[0], inputs[1], inputs[2], 0, 0).isnan().item<bool>());
}

TEST(LinearCrossEntropy, RejectsTargetsOutsideTheVocabulary) {
  Tensors inputs = inputs_of(4, 8, 5, false);
  inputs[2][3] = 5;
  expect_usage_error([&] { linear_cross_entropy(inputs[0], inputs[1], inputs[2], 0, 0); },
                     "target 5 of token 3 is outside the vocabulary of 5");
  inputs[2][3] = -1;
  expect_usage_error([&] { linear_cross_entropy(inputs[0], inputs[1], inputs[2], 0, 0); }, "target -1 of token 3");
  expect_usage_error([&] { linear_cross_entropy(inputs[0], inputs[1], inputs[2], 1, 0); }, "");
}

TEST(TokenLogProbabilities, AreTheLogSoftmaxAtTheTargets) {
  const Tensors t = inputs_of(600, 16, 70, false);
  for (const double softcap : {0.0, 10.0}) {
    at::Tensor logits = t[0].mm(t[1].t());
    if (softcap > 0) logits = (logits / softcap).tanh() * softcap;
    const at::Tensor expected = logits.log_softmax(-1).gather(1, t[2].unsqueeze(1)).squeeze(1);
    at::Tensor greedy;
    const at::Tensor found = token_log_probabilities(t[0], t[1], t[2], softcap, &greedy);
    EXPECT_LE(distance(found, expected), 1e-5);
    EXPECT_TRUE(greedy.equal(logits.argmax(-1) == t[2]));
  }
}
