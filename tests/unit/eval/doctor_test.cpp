#include "xinslm/eval/doctor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <stdexcept>
#include <string>

#include "eval/doctor/operator_cases.h"
#include "eval/doctor/place.h"
#include "unit/host_device.h"
#include "xinslm/core/fallbacks.h"

using namespace xinslm;
using doctor::OperatorCase;
using doctor::Tensors;

namespace {

void expect_all_pass(const std::vector<Check>& checks) {
  EXPECT_FALSE(checks.empty());
  for (const Check& check : checks) {
    EXPECT_TRUE(check.passed()) << check.subject << " " << check.type << " " << check.place << ": " << check.problem
                                << check.worst << " " << check.difference << " of " << check.allowed;
  }
}

/// The square of x, and what is claimed to be it.
OperatorCase square_as(const doctor::Operator& op) {
  return {.subject = "square",
          .sizes = "[9]",
          .op = op,
          .reference = [](const Tensors& t) { return Tensors{t[0] * t[0]}; },
          .inputs = {doctor::normal({9}, 1)}};
}

}  // namespace

TEST(Doctor, FindsEveryOperatorOfTheProcessorRight) {
  expect_all_pass(check_operators(at::kCPU));
}

TEST(Doctor, FindsASmallModelOfTheProcessorRight) {
  expect_all_pass(check_model(at::kCPU));
}

TEST(Doctor, ReportsTheLargestDifferenceWithItsPlace) {
  const auto wrong = [](const Tensors& t) { return Tensors{t[0] * t[0] * 1.1}; };
  const auto checks = doctor::check_cases({square_as(wrong)}, at::kCPU, {});
  ASSERT_FALSE(checks.empty());
  for (const Check& check : checks) {
    EXPECT_FALSE(check.passed());
    EXPECT_NEAR(check.difference, 0.1, 0.02);
    EXPECT_NE(check.worst.find("[9], "), std::string::npos) << check.worst;
  }
}

TEST(Doctor, ReportsWrongGradientsOfRightOutputs) {
  const auto wrong = [](const Tensors& t) { return Tensors{t[0] * t[0].detach()}; };
  for (const Check& check : doctor::check_cases({square_as(wrong)}, at::kCPU, {})) {
    EXPECT_FALSE(check.passed());
    EXPECT_EQ(check.worst, "[9], gradient 1");
  }
}

TEST(Doctor, ReportsNotANumberAndOtherSizesAndExceptions) {
  const auto nan = [](const Tensors& t) { return Tensors{t[0] * std::nan("")}; };
  const auto longer = [](const Tensors& t) { return Tensors{at::cat({t[0], t[0]})}; };
  const auto thrower = [](const Tensors&) -> Tensors { throw std::runtime_error("no such kernel"); };
  for (const Check& check : doctor::check_cases({square_as(nan)}, at::kCPU, {})) EXPECT_FALSE(check.passed());
  for (const Check& check : doctor::check_cases({square_as(longer)}, at::kCPU, {})) EXPECT_FALSE(check.passed());
  for (const Check& check : doctor::check_cases({square_as(thrower)}, at::kCPU, {})) {
    EXPECT_EQ(check.problem, "[9]: no such kernel");
  }
}

// The way of a GPU without a kernel of ours: references on the device, what LibTorch lacks on the processor.
TEST(Doctor, FindsADeviceWithoutKernelsRightAndNamesWhatItLacks) {
  allow_processor_fallback(c10::DispatchKey::PrivateUse1);
  clear_fallbacks();
  expect_all_pass(check_operators(host_device()));
  expect_all_pass(check_model(host_device()));
  std::set<std::string> references, on_processor;
  for (const Fallback& one : fallbacks()) (one.to == FallbackTo::reference ? references : on_processor).insert(one.op);
  for (const char* op : {"attention", "linear_cross_entropy", "moe_experts"}) {
    EXPECT_TRUE(references.contains(op)) << op;
  }
  EXPECT_TRUE(on_processor.contains("aten::mm"));
}
