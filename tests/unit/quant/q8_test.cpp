#include "xinslm/quant/q8.h"

#include <algorithm>
#include <cmath>
#include <iostream>

#include "unit/quant/quant_test.h"
#include "xinslm/quant/quant_error.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// Of one block with a scale; integers beyond 127 are cut.
double squared_error(const float* x, double scale) {
  double sum = 0;
  for (int i = 0; i < 32; ++i) {
    const double integer = scale > 0 ? std::clamp(std::round(x[i] / scale), -127.0, 127.0) : 0;
    sum += std::pow(x[i] - integer * scale, 2);
  }
  return sum;
}

/// With the best float16 scale near amax / 127, block by block.
double least_squared_error(const at::Tensor& x) {
  double total = 0;
  for (const float* block = x.const_data_ptr<float>(); block < x.const_data_ptr<float>() + x.numel(); block += 32) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::max(amax, std::abs(block[i]));
    const int nearest = static_cast<at::Half>(amax / 127).x;
    double least = squared_error(block, 0);
    for (int bits = std::max(0, nearest - 2); bits <= nearest + 2; ++bits) {
      const at::Half scale(static_cast<uint16_t>(bits), at::Half::from_bits());
      least = std::min(least, squared_error(block, scale));
    }
    total += least;
  }
  return total;
}

}  // namespace

TEST(Q8, FollowsItsFormula) {
  const at::Tensor x = normal({5, 3, 96}, 1);
  const auto [values, scales] = quantize_q8(x, "w");
  ASSERT_EQ(values.sizes(), x.sizes());
  ASSERT_EQ(scales.sizes(), at::IntArrayRef({5, 3, 3}));
  const at::Tensor blocks = x.view({-1, 32}), integers = values.view({-1, 32}), factors = scales.view({-1});
  for (int64_t i = 0; i < blocks.size(0); ++i) {
    const at::Half scale = blocks[i].abs().max().item<float>() / 127;
    const float inverse = 1 / static_cast<float>(scale);
    EXPECT_EQ(factors[i].item<at::Half>(), scale);
    for (int64_t c = 0; c < 32; ++c) {
      EXPECT_EQ(integers[i][c].item<int>(), std::lround(blocks[i][c].item<float>() * inverse));
    }
  }
  const at::Tensor expected = integers.to(at::kFloat) * factors.to(at::kFloat).unsqueeze(1);
  EXPECT_TRUE(same_bytes(dequantize_q8(values, scales, at::kFloat), expected.view(x.sizes())));
}

TEST(Q8, RoundsHalvesAwayFromZero) {
  std::vector<float> values(32, 0.0f);
  const std::vector<std::pair<float, int>> cases{{127.0f, 127}, {0.5f, 1},   {0.49999997f, 0}, {1.5f, 2},
                                                 {2.5f, 3},     {-0.5f, -1}, {-2.5f, -3},      {-126.5f, -127},
                                                 {-0.25f, 0},   {99.49f, 99}};
  for (size_t i = 0; i < cases.size(); ++i) values[i] = cases[i].first;
  const auto [integers, scales] = quantize_q8(tensor_of(values, {1, 32}), "w");
  EXPECT_EQ(scales.item<float>(), 1);
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(integers[0][static_cast<int64_t>(i)].item<int>(), cases[i].second) << cases[i].first;
  }
}

TEST(Q8, RepresentableValuesComeBackExactly) {
  const at::Tensor integers = at::arange(-127, 129, at::kFloat).clamp_max(127).view({8, 32}).clone();
  integers.select(1, 0).fill_(-127);  // else the block's own largest would choose another scale
  for (const int exponent : {-17, -3, 0, 8}) {
    const at::Tensor x = integers * std::ldexp(1.0, exponent);
    const auto [values, scales] = quantize_q8(x, "w");
    EXPECT_TRUE(dequantize_q8(values, scales, at::kFloat).equal(x)) << exponent;
  }
}

TEST(Q8, ErrorOnGaussianValuesIsSmall) {
  const at::Tensor x = normal({128, 1024}, 2);
  const auto [values, scales] = quantize_q8(x, "w");
  const QuantError error = quant_error(x, dequantize_q8(values, scales, at::kFloat));
  std::cout << "relative RMS error " << error.relative_rms() << ", worst block " << error.worst_block << "\n";
  EXPECT_LT(error.relative_rms(), 0.006);
  EXPECT_LT(error.worst_block, 0.02);
}

TEST(Q8, EveryMagnitudeLosesAsLittleAsAnyScaleAllows) {
  const at::Tensor x = normal({64, 256}, 4);
  for (int half_decade = -14; half_decade <= 12; ++half_decade) {
    const double magnitude = std::pow(10, half_decade / 2.0);
    SCOPED_TRACE(::testing::Message() << "standard deviation " << magnitude);
    const at::Tensor weights = x * magnitude;
    const auto [values, scales] = quantize_q8(weights, "w");
    const QuantError error = quant_error(weights, dequantize_q8(values, scales, at::kFloat));
    EXPECT_LT(error.relative_rms(), std::max(0.0065, 2.6e-8 / magnitude));  // steps are at least 6e-8
    EXPECT_LT(error.squared_error, 1.15 * least_squared_error(weights));
  }
}

TEST(Q8, ValuesNearTheLargestScaleAreCutByLessThanAStep) {
  at::Tensor x = at::zeros({1, 32});
  x[0][3] = 8.32e6;  // 65512 * 127: the scale is rounded down to 65504, float16's largest
  x[0][4] = -65504.0;
  const auto [values, scales] = quantize_q8(x, "w");
  EXPECT_EQ(scales.item<float>(), 65504);
  EXPECT_EQ(values[0][3].item<int>(), 127);
  EXPECT_EQ(values[0][4].item<int>(), -1);
}

TEST(Q8, FilesWrittenBeforeMeanTheSame) {
  const at::Tensor values = at::arange(-127, 129, at::kInt).clamp_max(127).to(at::kChar).view({2, 128});
  const std::vector<float> steps{0, 0x1p-24f, 0x3p-24f, 0x1p-14f, 0.0123f, 1, 300, 65504};
  const at::Tensor scales = tensor_of(steps, {2, 4}).to(at::kHalf);
  const at::Tensor expected = values.to(at::kFloat) * scales.to(at::kFloat).repeat_interleave(32, 1);
  EXPECT_TRUE(dequantize_q8(values, scales, at::kFloat).equal(expected));
}

TEST(Q8, ZeroAndTinyBlocksAreZeros) {
  const at::Tensor x = at::zeros({3, 32});
  x[1].fill_(1e-40);
  x[2].fill_(-2.9e-8);
  const auto [values, scales] = quantize_q8(x, "w");
  EXPECT_TRUE(values.eq(0).all().item<bool>());
  EXPECT_TRUE(scales.eq(0).all().item<bool>());
}

TEST(Q8, ErrorsNameTheTensor) {
  at::Tensor x = normal({2, 64}, 3);
  x[1][40] = NAN;
  const std::string nan = error_of(ErrorKind::data, [&] { quantize_q8(x, "lm_head.weight"); });
  expect_contains(nan, "lm_head.weight");
  expect_contains(nan, "[1, 40]");
  x[1][40] = 1e7;
  expect_contains(error_of(ErrorKind::data, [&] { quantize_q8(x, "lm_head.weight"); }), "lm_head.weight");
  expect_contains(error_of(ErrorKind::usage, [] { quantize_q8(at::zeros({2, 48}), "w"); }), "[2, 48]");
  const auto dequantize = [](at::IntArrayRef values, at::IntArrayRef scales) {
    return error_of(ErrorKind::usage,
                    [&] { dequantize_q8(at::zeros(values, at::kChar), at::zeros(scales, at::kHalf), at::kFloat); });
  };
  expect_contains(dequantize({2, 64}, {2, 3}), "[2, 3]");
  expect_contains(dequantize({3, 64}, {2, 2}), "[2, 2]");
}
