#include "xinslm/core/machine.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "xinslm/core/libtorch.h"

using namespace xinslm;

TEST(Machine, KnowsWhichApplePartsHaveBfloat16) {
  EXPECT_FALSE(has_native_bfloat16("Apple M1"));
  EXPECT_FALSE(has_native_bfloat16("Apple M2 Pro"));
  EXPECT_FALSE(has_native_bfloat16("Apple M1 (Virtual)"));
  EXPECT_TRUE(has_native_bfloat16("Apple M3"));
  EXPECT_TRUE(has_native_bfloat16("Apple M4 Max"));
  EXPECT_TRUE(has_native_bfloat16("Apple M10"));
  EXPECT_FALSE(has_native_bfloat16("Apple M"));
  EXPECT_FALSE(has_native_bfloat16("AMD EPYC 9654"));
}

TEST(Machine, IsDescribed) {
  EXPECT_FALSE(system_name().empty());
  EXPECT_GE(available_cores(), 1);
  EXPECT_GT(total_memory(), int64_t{1} << 28);
  EXPECT_GT(available_memory(), 0);
  EXPECT_LE(available_memory(), total_memory());
}

TEST(LibTorch, IsFoundWhereItWasLoadedFrom) {
  EXPECT_TRUE(std::filesystem::is_regular_file(libtorch_path())) << libtorch_path();
  EXPECT_NE(libtorch_path().find("torch"), std::string::npos);
  EXPECT_EQ(libtorch_version().find_first_not_of("0123456789."), std::string::npos) << libtorch_version();
}

#ifdef __linux__
/// Of files, in kB.
int64_t resident_pages_of_files() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kilobytes;
    if (word == "RssFile:" && status >> kilobytes) return kilobytes;
  }
  return 0;
}

TEST(Machine, ForgetsStartUpCode) {
  const int64_t before = resident_pages_of_files();
  forget_start_up_code();
  EXPECT_LT(resident_pages_of_files(), before - 10000);
}
#endif

TEST(Machine, ComputesOnAfterStartUpCodeIsForgotten) {
  forget_start_up_code();
  EXPECT_EQ(at::arange(5).sum().item<int64_t>(), 10);
  EXPECT_THROW(at::ones({2, 3}).mm(at::ones({2, 3})), c10::Error);
}
