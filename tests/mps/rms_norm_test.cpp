#include "xinslm/ops/rms_norm.h"

#include "mps/check.h"

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

TEST(MetalRmsNorm, MatchesReferenceOnOddSizes) {
  expect_metal_matches(fast, reference, {normal({3, 5, 37}, 1), normal({37}, 2)}, {1}, "rms_norm_forward");
  expect_metal_matches(fast, reference, {normal({1, 3}, 1), normal({3}, 2)}, {1}, "rms_norm_backward");
  expect_metal_matches(fast, reference, {normal({70, 64}, 1), normal({64}, 2)}, {1}, "rms_norm_gain");
  expect_metal_matches(fast, reference, {normal({2, 1100}, 1), normal({1100}, 2)}, {1}, "rms_norm_forward");
}

TEST(MetalRmsNorm, TakesTransposedAndSlicedInput) {
  const at::Tensor x = normal({6, 40}, 1).t(), part = normal({5, 9, 6}, 3).slice(1, 2, 7), gain = normal({6}, 2);
  const at::Tensor expected = rms_norm_ref(x, gain, 1e-5), expected_part = rms_norm_ref(part, gain, 1e-5);
  const SimulatedMetal metal;
  EXPECT_LE(distance(rms_norm(x, gain, 1e-5), expected), 1e-6);
  EXPECT_LE(distance(rms_norm(part, gain, 1e-5), expected_part), 1e-6);
  EXPECT_LE(distance(rms_norm(part[2].slice(0, 1), gain, 1e-5), expected_part[2].slice(0, 1)), 1e-6);
}

TEST(MetalRmsNorm, LaunchesOneGroupARow) {
  const at::Tensor x = normal({4, 300}, 1), gain = normal({300}, 2);
  const SimulatedMetal metal;
  rms_norm(x, gain, 1e-5);
  ASSERT_EQ(metal.launches().size(), 1u);
  const auto& launch = metal.launches()[0];
  EXPECT_EQ(launch.kernel, "rms_norm_forward_float");
  EXPECT_EQ(launch.threads.x, 4 * launch.group.x);
  EXPECT_EQ(std::get<int64_t>(launch.arguments[4]), 300);
}
