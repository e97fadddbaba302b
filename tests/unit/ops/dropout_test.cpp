#include "xinslm/ops/dropout.h"

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

TEST(Dropout, MatchesReference) {
  for (const double p : {0.1, 0.5}) {
    expect_matches([=](const Tensors& t) { return xinslm::dropout(t[0], p, uint64_t{12345678901234567}); },
                   [=](const Tensors& t) { return dropout_ref(t[0], p, uint64_t{12345678901234567}); },
                   {normal({3, 50, 77}, 1)});
  }
}

TEST(Dropout, DropsTheShareAskedForAndScalesTheRest) {
  const at::Tensor y = xinslm::dropout(at::ones({1000, 1000}), 0.2, uint64_t{7});
  EXPECT_NEAR(y.eq(0).to(at::kDouble).mean().item<double>(), 0.2, 0.002);
  EXPECT_TRUE((y.eq(0) | (y - 1.25).abs().lt(1e-6)).all().item<bool>());
}

TEST(Dropout, OtherSeedsDropOtherElements) {
  const at::Tensor x = at::ones({100000});
  const at::Tensor a = xinslm::dropout(x, 0.5, uint64_t{1}).eq(0), b = xinslm::dropout(x, 0.5, uint64_t{2}).eq(0);
  EXPECT_NEAR((a & b).to(at::kDouble).mean().item<double>(), 0.25, 0.01);
  EXPECT_TRUE(a.equal(xinslm::dropout(x, 0.5, uint64_t{1}).eq(0)));
}

TEST(Dropout, MaskBelongsToTheElementNotToTheLayout) {
  const at::Tensor x = at::ones({40, 30});
  EXPECT_TRUE(xinslm::dropout(x, 0.5, uint64_t{3}).equal(xinslm::dropout(at::ones({30, 40}).t(), 0.5, uint64_t{3})));
}

TEST(Dropout, RejectsProbabilitiesOutsideTheRange) {
  expect_usage_error([] { xinslm::dropout(at::ones({2}), 1.0, uint64_t{0}); }, "probability 1 is outside [0, 1)");
  expect_usage_error([] { xinslm::dropout(at::ones({2}), -0.1, uint64_t{0}); }, "outside [0, 1)");
}
