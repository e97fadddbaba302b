#include "xinslm/core/device.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

TEST(Device, CpuIsAlwaysThere) {
  EXPECT_TRUE(choose_device("cpu").is_cpu());
}

TEST(Device, AutoTakesTheGpuWhereThereIsOne) {
  EXPECT_EQ(choose_device("auto").is_mps(), at::hasMPS());
}

TEST(Device, MpsWithoutOneIsAUsageError) {
  if (at::hasMPS()) GTEST_SKIP() << "this machine has one";
  try {
    choose_device("mps");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("mps is not available"), std::string::npos);
  }
}

TEST(Device, OtherWordsAreUsageErrors) {
  EXPECT_THROW(choose_device("cuda"), Error);
}

TEST(ComputeType, NamedTypesAreTaken) {
  EXPECT_EQ(choose_compute_type("float32", at::kCPU), at::kFloat);
  EXPECT_EQ(choose_compute_type("bfloat16", at::kCPU), at::kBFloat16);
}

TEST(ComputeType, AutoTakesOneOfThem) {
  const at::ScalarType type = choose_compute_type("auto", at::kCPU);
  EXPECT_TRUE(type == at::kFloat || type == at::kBFloat16);
}

TEST(ComputeType, Float16IsRefusedOnTheProcessor) {
  EXPECT_THROW(choose_compute_type("float16", at::kCPU), Error);
  EXPECT_EQ(choose_compute_type("float16", at::kMPS), at::kHalf);
}

TEST(ComputeType, OtherWordsAreUsageErrors) {
  EXPECT_THROW(choose_compute_type("int8", at::kCPU), Error);
}

TEST(MatmulFlops, AreThoseOfAProcessor) {
  const double flops = measure_matmul_flops(at::kFloat, at::kCPU);
  EXPECT_GT(flops, 1e8);
  EXPECT_LT(flops, 1e15);
}

}  // namespace
}  // namespace xinslm
