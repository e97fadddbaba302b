#include "xinslm/ops/adamw.h"

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct State {
  at::Tensor master = normal({33, 41}, 1), first = at::zeros({33, 41}), second = at::zeros({33, 41});
  at::Tensor compute = at::empty({33, 41}, at::TensorOptions().dtype(at::kBFloat16));
};

constexpr AdamWStep settings(int64_t step) {
  return {1e-2, 0.9, 0.95, 1e-8, 0.1, step, 0.5};
}

using Step = void (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                      const AdamWStep&);
State after_three_steps(Step step, at::ScalarType gradient_type) {
  State state;
  for (int64_t i = 1; i <= 3; ++i) {
    step(state.master, normal({33, 41}, 10 + i, gradient_type), state.first, state.second, state.compute, settings(i));
  }
  return state;
}

}  // namespace

TEST(AdamW, MatchesReference) {
  const Isa before = active_isa();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const State expected = after_three_steps(adamw_step_ref, type);
    for (const Isa isa : supported_isas()) {
      set_active_isa(isa);
      const State found = after_three_steps(adamw_step, type);
      EXPECT_LE(distance(found.master, expected.master), 1e-6) << isa_name(isa);
      EXPECT_LE(distance(found.first, expected.first), 1e-6) << isa_name(isa);
      EXPECT_LE(distance(found.second, expected.second), 1e-6) << isa_name(isa);
      EXPECT_TRUE(found.compute.equal(found.master.to(at::kBFloat16))) << isa_name(isa);
    }
  }
  set_active_isa(before);
}

TEST(AdamW, FirstStepMovesByTheLearningRateAgainstTheSign) {
  const at::Tensor master = at::zeros({100}), gradient = normal({100}, 3);
  adamw_step(master, gradient, at::zeros({100}), at::zeros({100}), {}, {1e-3, 0.9, 0.999, 1e-12, 0.1, 1, 1});
  EXPECT_LE(distance(master, gradient.sign() * -1e-3), 1e-5);
}

TEST(AdamW, RejectsSizesThatDoNotFit) {
  const at::Tensor x = at::zeros({4}), y = at::zeros({5});
  expect_usage_error([&] { adamw_step(x, y, x, x, {}, settings(1)); }, "they must agree");
  expect_usage_error([&] { adamw_step(x, x, x, x, {}, settings(0)); }, "step is 0");
}

TEST(SumOfSquares, IsExactToFloat64RoundingOfItsBlocks) {
  const Isa before = active_isa();
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const at::Tensor x = normal({70001}, 5, type);
    const double expected = x.to(at::kDouble).square().sum().item<double>();
    for (const Isa isa : supported_isas()) {
      set_active_isa(isa);
      EXPECT_NEAR(sum_of_squares(x) / expected, 1, 2e-6);
      EXPECT_EQ(sum_of_squares(x), sum_of_squares(x));
    }
  }
  set_active_isa(before);
}
