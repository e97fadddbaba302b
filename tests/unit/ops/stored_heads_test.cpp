#include "xinslm/ops/stored_heads.h"

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// Keys [2, 2, 5, 64]; those with strided rows are stored by the reference instead of a kernel.
at::Tensor keys_of(double magnitude, at::ScalarType type, bool strided) {
  const at::Tensor x = (normal({2, 2, 5, 64}, 1) * magnitude).to(type);
  return strided ? x.transpose(2, 3).contiguous().transpose(2, 3) : x;
}

StoredHeads eight_bits() {
  return {at::full({2, 2, 5, 64}, 99, at::TensorOptions().dtype(at::kChar)),
          at::full({2, 2, 5}, std::nan(""), at::TensorOptions().dtype(at::kFloat))};
}

}  // namespace

TEST(StoredHeads, EveryMagnitudeIsWithinHalfAStep) {
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      for (const bool strided : {false, true}) {
        for (int decade = -30; decade <= 36; decade += 3) {
          SCOPED_TRACE(::testing::Message() << isa_name(isa) << " " << type << " " << strided << " 1e" << decade);
          const at::Tensor x = keys_of(std::pow(10.0, decade), type, strided);
          const StoredHeads stored = eight_bits();
          store_heads(x, x, stored, eight_bits());
          const at::Tensor exact = x.to(at::kDouble), step = exact.abs().amax(-1) / 127;
          const at::Tensor error = (load_heads(stored, at::kFloat).to(at::kDouble) - exact).abs().amax(-1);
          EXPECT_LT((error / step).max().item<double>(), 0.501);
        }
      }
    }
  }
  set_active_isa(before);
}

TEST(StoredHeads, WhatHasNoScaleBecomesZeros) {
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const bool strided : {false, true}) {
      for (const double magnitude : {0.0, 1e-44, 1e-38, 1e-36}) {
        SCOPED_TRACE(::testing::Message() << isa_name(isa) << " " << strided << " " << magnitude);
        const at::Tensor x = keys_of(magnitude, at::kFloat, strided);
        const StoredHeads stored = eight_bits();
        store_heads(x, x, stored, eight_bits());
        EXPECT_TRUE(stored.values.eq(0).all().item<bool>());
        EXPECT_TRUE(load_heads(stored, at::kFloat).eq(0).all().item<bool>());
      }
    }
  }
  set_active_isa(before);
}
