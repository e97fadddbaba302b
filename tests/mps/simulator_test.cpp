#include "mps/simulator.h"

#include <gtest/gtest.h>

#include <bit>
#include <numeric>
#include <stdexcept>
#include <vector>

using simulator::Argument;
using simulator::Size3;

namespace {

template <class T>
Argument buffer(std::vector<T>& x) {
  return {Argument::buffer, x.data(), x.size() * sizeof(T), 0};
}
Argument integer(int64_t value) {
  return {Argument::integer, nullptr, 0, value};
}

void run(const std::string& kernel, const std::vector<Argument>& arguments, Size3 threads, Size3 group) {
  const auto* found = simulator::find_kernel("probe", kernel);
  ASSERT_NE(found, nullptr) << kernel;
  simulator::launch(*found, arguments, threads, group);
}

void expect_report(const std::string& kernel, const std::vector<Argument>& arguments, Size3 threads, Size3 group,
                   const std::string& text) {
  try {
    run(kernel, arguments, threads, group);
    FAIL() << kernel << " was not reported";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("probe/" + kernel), std::string::npos) << e.what();
  }
}

std::vector<float> counted(size_t size) {
  std::vector<float> x(size);
  std::iota(x.begin(), x.end(), 0.0f);
  return x;
}

}  // namespace

TEST(Simulator, RunsSmallerLastGroup) {
  auto x = counted(100);
  std::vector<float> y(100);
  run("copies", {buffer(x), buffer(y)}, {100}, {64});
  EXPECT_EQ(x, y);
}

TEST(Simulator, TellsEveryThreadItsPlace) {
  std::vector<uint32_t> y(7 * 5 * 3);
  run("place_in_grid", {buffer(y)}, {7, 5, 3}, {4, 2, 2});
  EXPECT_EQ(y, std::vector<uint32_t>(y.size(), 1));
}

TEST(Simulator, ReportsReadPastEnd) {
  auto x = counted(64);
  std::vector<float> y(64);
  expect_report("reads_past_end", {buffer(x), buffer(y)}, {64}, {32},
                "thread (31, 0, 0) of group (1, 0, 0): reads 4 bytes 0 bytes past the end of buffer 0 (x) (256 bytes) "
                "(probe.metal:10)");
}

TEST(Simulator, ReportsWriteBeforeStart) {
  std::vector<float> y(8);
  expect_report("writes_before_start", {buffer(y)}, {8}, {8},
                "writes 4 bytes 4 bytes before the start of buffer 0 (y)");
}

TEST(Simulator, ReportsIndexOutsideOfThreadsOwnArray) {
  std::vector<float> y(8);
  run("indexes_own_array", {buffer(y), integer(3)}, {8}, {8});
  EXPECT_EQ(y[0], 6);
  expect_report("indexes_own_array", {buffer(y), integer(4)}, {8}, {8}, "indexes an array with 4");
}

TEST(Simulator, ReportsVectorAtCrookedAddress) {
  auto x = counted(64);
  std::vector<float> y(8);
  expect_report("reads_crooked", {buffer(x), buffer(y)}, {8}, {8}, "not aligned");
}

TEST(Simulator, ReportsMissingBarrier) {
  auto x = counted(200);
  std::vector<float> y(200);
  run("turn_round", {buffer(x), buffer(y)}, {200}, {128});
  for (int i = 0; i < 200; ++i) EXPECT_EQ(y[i], i < 128 ? 127 - i : 327 - i);
  expect_report("turn_round_at_once", {buffer(x), buffer(y)}, {200}, {128}, "threadgroup array part");
}

TEST(Simulator, ReportsWriteAfterUnfinishedRead) {
  std::vector<float> y(64);
  run("shift_twice", {buffer(y)}, {64}, {64});
  EXPECT_EQ(y[3], 5);
  expect_report("shift_twice_at_once", {buffer(y)}, {64}, {64}, "reads with no barrier between");
}

TEST(Simulator, SimdgroupBarrierOrdersItsSimdgroupOnly) {
  std::vector<float> y(64);
  run("neighbour_of_simdgroup", {buffer(y), integer(1)}, {64}, {64});
  EXPECT_EQ(y[6], 7);
  expect_report("neighbour_of_simdgroup", {buffer(y), integer(32)}, {64}, {64}, "threadgroup array part");
}

TEST(Simulator, BarrierOrdersOnlyTheMemoryItNames) {
  std::vector<float> y(64);
  expect_report("wrong_flags", {buffer(y)}, {64}, {64}, "with no barrier between");
}

TEST(Simulator, ReportsThreadgroupArraysMisused) {
  std::vector<float> y(32);
  expect_report("runs_over_array", {buffer(y)}, {8}, {8}, "0 bytes past the end of threadgroup array first (32 bytes)");
  expect_report("reads_unwritten", {buffer(y)}, {32}, {32}, "part before anything was written");
  expect_report("needs_too_much", {buffer(y)}, {32}, {32}, "needs 32772 bytes of threadgroup memory");
}

TEST(Simulator, ReportsThreadsThatDoNotMeet) {
  std::vector<float> y(32);
  expect_report("leaves_early", {buffer(y)}, {32}, {32}, "thread (5, 0, 0) of group (0, 0, 0): ended while");
  expect_report("diverges", {buffer(y)}, {32}, {32}, "takes another way");
  expect_report("shuffles_with_nobody", {buffer(y)}, {32}, {32}, "a lane that takes no part");
}

TEST(Simulator, ReportsTwoThreadsThatWriteOnePlace) {
  std::vector<float> y(32);
  expect_report("writes_same_place", {buffer(y)}, {64}, {32}, "thread 0 of its group wrote with no barrier between");
  expect_report("writes_same_place", {buffer(y)}, {64}, {1}, "a thread of another group wrote");
}

TEST(Simulator, ReportsLaunchesThatDoNotFit) {
  auto x = counted(64);
  expect_report("copies", {buffer(x)}, {64}, {32}, "buffer 1 (y) has no argument");
  expect_report("copies", {buffer(x), buffer(x), integer(3)}, {64}, {32}, "argument 2 has no parameter");
  expect_report("copies", {buffer(x), buffer(x)}, {64}, {2048}, "a group of 2048");
  expect_report("copies", {buffer(x), buffer(x)}, {0}, {32}, "the grid has no threads");
}

TEST(Simulator, SimdgroupFunctionsGiveWhatMetalSays) {
  std::vector<float> y(11 * 32);
  run("simdgroup_functions", {buffer(y)}, {32}, {32});
  for (int lane = 0; lane < 32; ++lane) {
    const float x = lane + 1;
    const float expected[] = {528,
                              100,
                              1,
                              32 - lane + 0.0f,
                              (lane ^ 1) + 1.0f,
                              lane < 29 ? x + 3 : x,
                              lane >= 3 ? x - 3 : x,
                              8,
                              x * (x + 1) / 2,
                              x * (x - 1) / 2,
                              32.5f};
    for (int f = 0; f < 11; ++f) EXPECT_EQ(y[f * 32 + lane], expected[f]) << "function " << f << " lane " << lane;
  }
}

TEST(Simulator, MultipliesSimdgroupMatrices) {
  constexpr int stride = 10;
  auto a = counted(8 * stride), b = counted(8 * stride), c = counted(8 * stride);
  std::vector<float> d(8 * stride, -1);
  run("multiply_matrices_float", {buffer(a), buffer(b), buffer(c), buffer(d), integer(stride)}, {32}, {32});
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) {
      float sum = c[i * stride + j];
      for (int k = 0; k < 8; ++k) sum += a[k * stride + i] * b[k * stride + j];
      EXPECT_EQ(d[i * stride + j], sum);
    }
    EXPECT_EQ(d[i * stride + 8], -1);
  }
  expect_report("multiply_matrices_float", {buffer(a), buffer(b), buffer(c), buffer(d), integer(stride)}, {16}, {16},
                "a simdgroup that is not full");
  expect_report("multiply_matrices_float", {buffer(a), buffer(b), buffer(c), buffer(d), integer(11)}, {32}, {32},
                "reads 4 bytes");
}

TEST(Simulator, CountsWithAtomics) {
  std::vector<int> x(1000), counts(4);
  std::iota(x.begin(), x.end(), 0);
  run("count_with_atomics", {buffer(x), buffer(counts)}, {1000}, {256});
  EXPECT_EQ(counts, std::vector<int>(4, 250));
}

TEST(Simulator, RoundsAsMetalDoes) {
  std::vector<float> y(6);
  run("real_and_rounded", {buffer(y), integer(std::bit_cast<int32_t>(0.1f))}, {1}, {1});
  EXPECT_EQ(y, (std::vector<float>{0.1f, 1.0f, 1.015625f, 2048, -2.5f, 3}));
}
