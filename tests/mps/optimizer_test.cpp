#include "mps/check.h"
#include "xinslm/ops/adamw.h"
#include "xinslm/ops/dropout.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

constexpr AdamWStep settings{.learning_rate = 0.01,
                             .beta1 = 0.9,
                             .beta2 = 0.95,
                             .eps = 1e-8,
                             .weight_decay = 0.1,
                             .step = 3,
                             .gradient_scale = 0.5};

}  // namespace

TEST(MetalAdamW, MatchesReference) {
  for (const auto gradient_type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const auto compute_type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      if (gradient_type != at::kFloat && compute_type != at::kFloat && gradient_type != compute_type) continue;
      const at::Tensor gradient = normal({5, 61}, 2).to(gradient_type);
      Tensors found{normal({5, 61}, 1), normal({5, 61}, 3), normal({5, 61}, 4).square()};
      Tensors expected;
      for (const at::Tensor& x : found) expected.push_back(x.clone());
      for (Tensors* t : {&found, &expected}) t->push_back(at::zeros({5, 61}, compute_type));
      adamw_step_ref(expected[0], gradient, expected[1], expected[2], expected[3], settings);
      const SimulatedMetal metal;
      adamw_step(found[0], gradient, found[1], found[2], found[3], settings);
      EXPECT_EQ(metal.launches().size(), 1u);
      for (int i = 0; i < 4; ++i) {
        EXPECT_LE(distance(found[i].to(at::kFloat), expected[i].to(at::kFloat)), i < 3 ? 1e-6 : 1e-2) << i;
      }
    }
  }
}

TEST(MetalAdamW, WorksWithoutCopyAndOnViews) {
  const at::Tensor all = normal({3, 40}, 1), gradient = normal({40}, 2), first = at::zeros({40}),
                   second = at::zeros({40});
  const at::Tensor master = all[1], expected = all.clone(), moments[2] = {at::zeros({40}), at::zeros({40})};
  adamw_step_ref(expected[1], gradient, moments[0], moments[1], {}, settings);
  const SimulatedMetal metal;
  adamw_step(master, gradient, first, second, {}, settings);
  EXPECT_EQ(metal.count("adamw_step_float_float"), 1);
  EXPECT_LE(distance(all, expected), 1e-6);
}

TEST(MetalSumOfSquares, MatchesFloat64) {
  for (const int64_t size : {1, 255, 70001}) {
    for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const at::Tensor x = normal({size}, 1).to(type);
      const double expected = x.to(at::kDouble).square().sum().item<double>();
      const SimulatedMetal metal;
      EXPECT_NEAR(sum_of_squares_there(x).item<double>(), expected, 1e-5 * expected);
      EXPECT_EQ(metal.launches().size(), 1u);
    }
  }
}

TEST(MetalDropout, DropsTheSameElementsAsTheProcessor) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor x = normal({7, 45}, 1).to(type), expected = dropout_ref(x, 0.3, 0x123456789abcdef);
    const SimulatedMetal metal;
    const at::Tensor found = xinslm::dropout(x, 0.3, 0x123456789abcdef);
    EXPECT_TRUE(at::equal(found.eq(0), expected.eq(0)));
    EXPECT_LE(distance(found.to(at::kFloat), expected.to(at::kFloat)), type == at::kFloat ? 1e-6 : 1e-2);
    EXPECT_EQ(metal.launches().size(), 1u);
  }
}

TEST(MetalDropout, GradientHasTheSameMask) {
  const at::Tensor x = normal({40, 3}, 1).t();
  expect_metal_matches([](const Tensors& t) { return xinslm::dropout(t[0], 0.5, 9); },
                       [](const Tensors& t) { return dropout_ref(t[0], 0.5, 9); }, {x}, {}, "dropout");
}
