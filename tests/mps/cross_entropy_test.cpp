#include <cmath>

#include "mps/check.h"
#include "xinslm/ops/linear_cross_entropy.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// hidden, weight, targets with every fifth ignored when asked
Tensors inputs_of(int64_t tokens, int64_t hidden, int64_t vocabulary, bool ignored) {
  at::Tensor targets = at::arange(tokens, at::TensorOptions().dtype(at::kLong)).mul(7).remainder(vocabulary);
  if (ignored) targets.slice(0, 1, tokens, 5).fill_(ignored_target);
  return {normal({tokens, hidden}, 1), normal({vocabulary, hidden}, 2) * 0.3, targets};
}

using Loss = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, double, double);
Operator with_settings(Loss op, double smoothing, double softcap) {
  return [=](const Tensors& t) { return op(t[0], t[1], t[2], smoothing, softcap); };
}

}  // namespace

TEST(MetalCrossEntropy, MatchesReferenceOnOddSizes) {
  for (const double smoothing : {0.0, 0.1}) {
    for (const double softcap : {0.0, 5.0}) {
      SCOPED_TRACE(::testing::Message() << "smoothing " << smoothing << " softcap " << softcap);
      const auto fast = with_settings(linear_cross_entropy, smoothing, softcap);
      const auto reference = with_settings(linear_cross_entropy_ref, smoothing, softcap);
      expect_metal_matches(fast, reference, inputs_of(37, 24, 101, false), {}, "cross_entropy");
      expect_metal_matches(fast, reference, inputs_of(65, 8, 700, true), {}, "cross_entropy");
      expect_metal_matches(fast, reference, inputs_of(1, 8, 1, false), {}, "cross_entropy");
    }
  }
}

TEST(MetalCrossEntropy, GoesThroughSeveralChunks) {
  const auto fast = with_settings(linear_cross_entropy, 0, 0);
  const Tensors inputs = inputs_of(300, 4, 70000, false);  // 256 tokens are a chunk of so many logits
  inputs[2].narrow(0, 5, 290).fill_(ignored_target);       // what is ignored costs no time
  const Tensors expected = forward_and_backward(with_settings(linear_cross_entropy_ref, 0, 0), inputs);
  const SimulatedMetal metal;
  const Tensors found = forward_and_backward(fast, inputs);
  EXPECT_EQ(metal.launches().size(), 2u);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_LE(distance(found[i], expected[i]), 2e-5) << i;
}

TEST(MetalCrossEntropy, OfNothingButIgnoredTargetsIsZero) {
  Tensors inputs = inputs_of(4, 8, 5, false);
  inputs[2].fill_(ignored_target);
  const SimulatedMetal metal;
  for (const at::Tensor& result : forward_and_backward(with_settings(linear_cross_entropy, 0, 0), inputs)) {
    EXPECT_EQ(result.abs().max().item<double>(), 0.0);
  }
}

TEST(MetalCrossEntropy, LetsNotANumberThrough) {
  Tensors inputs = inputs_of(40, 8, 50, false);
  inputs[0][7][3] = std::nan("");
  const SimulatedMetal metal;
  EXPECT_TRUE(linear_cross_entropy(inputs[0], inputs[1], inputs[2], 0, 0).isnan().item<bool>());
}

TEST(MetalCrossEntropy, GivesLogProbabilitiesAndGreedyTokens) {
  const Tensors t = inputs_of(130, 16, 70, false);
  for (const double softcap : {0.0, 10.0}) {
    at::Tensor greedy_expected, greedy;
    const at::Tensor expected = token_log_probabilities(t[0], t[1], t[2], softcap, &greedy_expected);
    const SimulatedMetal metal;
    EXPECT_LE(distance(token_log_probabilities(t[0], t[1], t[2], softcap, &greedy), expected), 1e-5);
    EXPECT_TRUE(greedy.equal(greedy_expected));
  }
}

TEST(MetalCrossEntropy, TheFirstOfEqualLogitsIsGreedy) {
  const at::Tensor hidden = at::ones({3, 2}), weight = at::ones({40, 2});
  const at::Tensor targets = at::arange(3, at::TensorOptions().dtype(at::kLong));
  const SimulatedMetal metal;
  at::Tensor greedy;
  token_log_probabilities(hidden, weight, targets, 0, &greedy);
  EXPECT_TRUE(greedy.equal(targets == 0));
}
