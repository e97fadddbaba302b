#include "xinslm/ops/linear.h"

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

at::Tensor fast(const Tensors& t) {
  return xinslm::linear(t[0], t[1], t[2]);
}
at::Tensor reference(const Tensors& t) {
  return linear_ref(t[0], t[1], t[2]);
}

}  // namespace

TEST(Linear, MatchesReferenceOnOddSizes) {
  expect_matches(fast, reference, {normal({3, 17, 33}, 1), normal({21, 33}, 2), normal({21}, 3)}, {2});
  expect_matches(fast, reference, {normal({500, 64}, 1), normal({48, 64}, 2), {}});
  expect_matches(fast, reference, {normal({5}, 1), normal({2, 5}, 2), normal({2}, 3)});
}

TEST(Linear, GradientMatchesFiniteDifferences) {
  expect_gradient_is_difference(fast, {normal({3, 4}, 1), normal({2, 4}, 2), normal({2}, 3)});
}

TEST(Linear, SkipsGradientsNobodyWants) {
  const at::Tensor x = normal({3, 4}, 1), weight = normal({2, 4}, 2).requires_grad_(true);
  xinslm::linear(x, weight, {}).sum().backward();
  EXPECT_TRUE(weight.grad().defined());
  EXPECT_FALSE(x.grad().defined());
}

TEST(Linear, RejectsSizesThatDoNotFit) {
  expect_usage_error([] { xinslm::linear(normal({3, 4}, 1), normal({2, 5}, 2), {}); }, "last sizes must agree");
  expect_usage_error([] { xinslm::linear(normal({3, 4}, 1), normal({2, 4}, 2), normal({3}, 3)); }, "one for each row");
  expect_usage_error([] { xinslm::linear(normal({3, 4}, 1), normal({2, 4}, 2, at::kBFloat16), {}); }, "one type");
}
