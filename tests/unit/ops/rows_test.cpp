#include "xinslm/ops/rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

TEST(Rows, TakenAndSpreadOutAgain) {
  const at::Tensor places = at::tensor({0, 3, 4}, at::kLong);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::arange(1, 16).view({5, 3}).to(type), taken = take_rows(x, places);
    EXPECT_TRUE(at::equal(taken, x.index_select(0, places)));
    const at::Tensor back = spread_rows(taken, places, 5);
    EXPECT_TRUE(at::equal(back.index_select(0, places), taken));
    EXPECT_EQ(back.narrow(0, 1, 2).abs().max().item<double>(), 0);
  }
}

TEST(Rows, EachIsTheGradientOfTheOther) {
  const at::Tensor places = at::tensor({1, 2, 5}, at::kLong);
  const at::Tensor x = at::randn({6, 700}).requires_grad_(), y = at::randn({3, 700}).requires_grad_();
  const at::Tensor of_taken = at::randn({3, 700}), of_spread = at::randn({6, 700});
  take_rows(x, places).backward(of_taken);
  spread_rows(y, places, 6).backward(of_spread);
  EXPECT_TRUE(at::equal(x.grad(), spread_rows(of_taken, places, 6)));
  EXPECT_TRUE(at::equal(y.grad(), take_rows(of_spread, places)));
}

TEST(Rows, PlacesRiseWithinTheMatrix) {
  const at::Tensor x = at::zeros({3, 2});
  for (const std::vector<int64_t>& places : {std::vector<int64_t>{0, 0}, {2, 1}, {-1}, {3}}) {
    EXPECT_THROW(take_rows(x, at::tensor(places, at::kLong)), Error);
  }
  EXPECT_THROW(spread_rows(x, at::tensor({0, 1}, at::kLong), 3), Error);
}

}  // namespace
