#include "xinslm/core/fallbacks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "unit/host_device.h"

using namespace xinslm;

namespace {

int64_t calls_of(const std::string& op, FallbackTo to) {
  for (const Fallback& one : fallbacks()) {
    if (one.op == op && one.to == to) return one.calls;
  }
  return 0;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST(Fallbacks, AreCountedByOperatorAndKind) {
  clear_fallbacks();
  count_fallback("attention", FallbackTo::reference);
  count_fallback("attention", FallbackTo::reference);
  count_fallback("aten::sort", FallbackTo::processor);
  EXPECT_EQ(calls_of("attention", FallbackTo::reference), 2);
  EXPECT_EQ(calls_of("attention", FallbackTo::processor), 0);
  EXPECT_EQ(calls_of("aten::sort", FallbackTo::processor), 1);
  clear_fallbacks();
  EXPECT_TRUE(fallbacks().empty());
}

TEST(ProcessorFallback, CoversWhatTheDeviceLacksAndNothingElse) {
  const auto& names = allow_processor_fallback(c10::DispatchKey::PrivateUse1);
  EXPECT_TRUE(contains(names, "aten::mm.out"));
  EXPECT_FALSE(contains(names, "aten::view"));  // the device has it
  EXPECT_FALSE(contains(names, "aten::mm"));    // is made of aten::mm.out
  EXPECT_EQ(&allow_processor_fallback(c10::DispatchKey::PrivateUse1), &names);
}

TEST(ProcessorFallback, ComputesOnTheProcessorAndSaysSo) {
  allow_processor_fallback(c10::DispatchKey::PrivateUse1);
  clear_fallbacks();
  const at::Tensor a = at::rand({5, 7}), b = at::rand({7, 3});
  const at::Tensor product = at::mm(a.to(host_device()), b.to(host_device()));
  EXPECT_EQ(product.device(), host_device());
  EXPECT_TRUE(product.to(at::kCPU).equal(at::mm(a, b)));
  EXPECT_EQ(calls_of("aten::mm", FallbackTo::processor), 1);
}

TEST(ProcessorFallback, WorksInPlaceAndThroughAutograd) {
  allow_processor_fallback(c10::DispatchKey::PrivateUse1);
  at::Tensor x = at::arange(6, at::kFloat).to(host_device());
  x.add_(2).mul_(3);
  EXPECT_TRUE(x.to(at::kCPU).equal(at::arange(6, at::kFloat).add(2).mul(3)));
  at::Tensor leaf = at::rand({4}).to(host_device()).requires_grad_(true);
  (leaf * leaf).sum().backward();
  EXPECT_TRUE(leaf.grad().to(at::kCPU).equal(2 * leaf.detach().to(at::kCPU)));
}
