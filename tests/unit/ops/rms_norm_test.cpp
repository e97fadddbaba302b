#include "xinslm/ops/rms_norm.h"

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

at::Tensor fast(const Tensors& t) {
  return rms_norm(t[0], t[1], 1e-5);
}
at::Tensor reference(const Tensors& t) {
  return rms_norm_ref(t[0], t[1], 1e-5);
}

}  // namespace

TEST(RmsNorm, MatchesReferenceOnOddSizes) {
  expect_matches(fast, reference, {normal({3, 5, 37}, 1), normal({37}, 2)}, {1});
  expect_matches(fast, reference, {normal({1, 3}, 1), normal({3}, 2)}, {1});
  expect_matches(fast, reference, {normal({700, 64}, 1), normal({64}, 2)});
}

TEST(RmsNorm, GradientMatchesFiniteDifferences) {
  expect_gradient_is_difference(fast, {normal({3, 7}, 1), normal({7}, 2)});
}

TEST(RmsNorm, TakesTransposedInput) {
  const at::Tensor x = normal({6, 40}, 1).t(), gain = normal({6}, 2);
  EXPECT_LE(distance(rms_norm(x, gain, 1e-5), rms_norm_ref(x, gain, 1e-5)), 1e-6);
}

TEST(RmsNorm, LetsNotANumberThrough) {
  at::Tensor x = normal({2, 20}, 1);
  x[0][3] = std::nan("");
  const at::Tensor y = rms_norm(x, normal({20}, 2), 1e-5);
  EXPECT_TRUE(y[0].isnan().all().item<bool>());
  EXPECT_FALSE(y[1].isnan().any().item<bool>());
}

TEST(RmsNorm, RejectsGainOfOtherLength) {
  expect_usage_error([] { rms_norm(normal({2, 8}, 1), normal({7}, 2), 1e-5); }, "last sizes must agree");
}
