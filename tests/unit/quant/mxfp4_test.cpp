#include "xinslm/quant/mxfp4.h"

#include <array>
#include <cmath>
#include <iostream>
#include <limits>

#include "unit/quant/quant_test.h"
#include "xinslm/quant/quant_error.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// The value of a code by the definition of E2M1, times that of a scale byte by the definition of E8M0.
double defined_value(int code, int scale) {
  if (scale == 255) return std::numeric_limits<double>::quiet_NaN();
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const double magnitude = exponent == 0 ? 0.5 * mantissa : std::ldexp(1 + 0.5 * mantissa, exponent - 1);
  return std::ldexp(code & 8 ? -magnitude : magnitude, scale - 127);
}

bool same_float(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

/// One row of one block for each scale byte: bytes 0x10, 0x32, ..., 0xfe twice, so codes 0 to 15 in order, twice.
at::Tensor all_codes(int64_t rows) {
  at::Tensor blocks = at::empty({rows, 1, 16}, at::kByte);
  for (int64_t i = 0; i < blocks.numel(); ++i) {
    blocks.data_ptr<uint8_t>()[i] = static_cast<uint8_t>(2 * (i % 8) | (2 * (i % 8) + 1) << 4);
  }
  return blocks;
}

/// The code by comparing with each element in turn.
int nearest_by_search(double y) {
  int best = 0;
  for (int code = 1; code < 8; ++code) {
    const double gain = std::abs(y - defined_value(best, 127)) - std::abs(y - defined_value(code, 127));
    if (gain > 0 || (gain == 0 && code % 2 == 0)) best = code;
  }
  return best;
}

at::Tensor round_trip(const at::Tensor& x, ScaleRule rule) {
  const auto [blocks, scales] = quantize_mxfp4(x, rule, 32, "w");
  return dequantize_mxfp4(blocks, scales, x.scalar_type());
}

}  // namespace

TEST(Mxfp4, EveryCodeUnderEveryScale) {
  const at::Tensor scales = at::arange(256, at::kInt).to(at::kByte).view({256, 1});
  const at::Tensor decoded = dequantize_mxfp4(all_codes(256), scales, at::kFloat);
  for (int scale = 0; scale < 256; ++scale) {
    EXPECT_TRUE(same_float(e8m0_value(scale), static_cast<float>(defined_value(2, scale)))) << scale;
    for (int code = 0; code < 16; ++code) {
      const auto expected = static_cast<float>(defined_value(code, scale));
      for (int copy = 0; copy < 2; ++copy) {
        EXPECT_TRUE(same_float(decoded[scale][16 * copy + code].item<float>(), expected)) << code << " " << scale;
      }
    }
  }
  for (int code = 0; code < 256; ++code) {
    EXPECT_TRUE(same_float(mxfp4_value(code), static_cast<float>(defined_value(code & 15, 127))));
  }
}

TEST(Mxfp4, DecodesIntoShortTypesAsRoundingFloat32Would) {
  const at::Tensor scales = at::arange(255, at::kInt).to(at::kByte).view({255, 1});
  const at::Tensor decoded = dequantize_mxfp4(all_codes(255), scales, at::kFloat);
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    EXPECT_TRUE(same_bytes(dequantize_mxfp4(all_codes(255), scales, type), decoded.to(type))) << type;
  }
  EXPECT_TRUE(same_bytes(dequantize_mxfp4(all_codes(255), scales, at::kBFloat16).to(at::kFloat), decoded))
      << "bfloat16 holds every value";
}

TEST(Mxfp4, RepresentableValuesComeBackExactly) {
  std::vector<float> values;
  for (int scale = 0; scale < 255; ++scale) {
    for (int largest = 0; largest < 8; ++largest) {
      if (!std::isfinite(static_cast<float>(defined_value(largest, scale)))) continue;
      for (int i = 0; i < 32; ++i) {
        const int code = (i % 8 <= largest ? i % 8 : largest) | (i < 16 ? 0 : 8);
        values.push_back(static_cast<float>(defined_value(code, scale)));
      }
    }
  }
  const at::Tensor x = tensor_of(values, {-1, 32});
  EXPECT_TRUE(same_bytes(round_trip(x, ScaleRule::spec), x));
  EXPECT_TRUE(same_bytes(round_trip(x, ScaleRule::mse), x));
  EXPECT_TRUE(same_bytes(round_trip(x.to(at::kBFloat16), ScaleRule::mse), x.to(at::kBFloat16)));
}

TEST(Mxfp4, RoundsToNearestTiesToEvenAndSaturates) {
  const std::vector<std::pair<float, int>> cases{
      {0.25f, 0}, {0.2500001f, 1}, {0.75f, 2},      {0.7499999f, 1}, {1.25f, 2}, {1.75f, 4}, {2.5f, 4},
      {3.5f, 6},  {5.0f, 6},       {5.0000005f, 7}, {6.0f, 7},       {7.0f, 7},  {1e30f, 7}, {1e-40f, 0}};
  for (const auto& [x, code] : cases) {
    EXPECT_EQ(mxfp4_code(x), code) << x;
    EXPECT_EQ(mxfp4_code(-x), code | 8) << -x;
  }
  EXPECT_EQ(mxfp4_code(std::numeric_limits<float>::infinity()), 7);
  for (int i = 0; i <= 8 * 64; ++i) EXPECT_EQ(mxfp4_code(i / 64.0f), nearest_by_search(i / 64.0)) << i / 64.0;
}

TEST(Mxfp4, SpecRuleTakesThePowerOfTwoBelowTheLargest) {
  std::vector<float> block(32, 0.3f);
  for (const auto& [amax, scale] : {std::pair{1.0f, 125}, {1.99f, 125}, {2.0f, 126}, {7.9f, 127}, {8.0f, 128}}) {
    block[9] = -amax;
    uint8_t bytes[16];
    EXPECT_EQ(encode_mxfp4(block, ScaleRule::spec, bytes), scale) << amax;
    EXPECT_EQ(bytes[4] >> 4, mxfp4_code(std::ldexp(-amax, 127 - scale))) << "value 9 is in the high half of byte 4";
  }
}

TEST(Mxfp4, ZerosSmallestAndLargestValues) {
  constexpr float tiny = std::numeric_limits<float>::denorm_min(), huge = std::numeric_limits<float>::max();
  const float smallest = std::ldexp(1.0f, -128);  // 0.5 of the smallest scale
  std::vector<float> values(5 * 32, 0.0f);
  for (int i = 0; i < 32; ++i) {
    values[32 + i] = -0.0f;
    values[64 + i] = tiny;
    values[96 + i] = i % 2 ? smallest : -0.4f * smallest;
    values[128 + i] = i % 2 ? huge : -huge;
  }
  for (const ScaleRule rule : {ScaleRule::spec, ScaleRule::mse}) {
    const auto [blocks, scales] = quantize_mxfp4(tensor_of(values, {5, 32}), rule, 32, "w");
    const at::Tensor decoded = dequantize_mxfp4(blocks, scales, at::kFloat);
    EXPECT_TRUE(blocks[0].eq(0).all().item<bool>());
    EXPECT_TRUE(blocks[1].eq(0x88).all().item<bool>());
    EXPECT_TRUE(scales.slice(0, 0, 4).eq(0).all().item<bool>());
    EXPECT_TRUE(decoded.slice(0, 0, 3).eq(0).all().item<bool>());
    EXPECT_EQ(decoded[3][1].item<float>(), smallest);
    EXPECT_TRUE(same_float(decoded[3][0].item<float>(), -0.0f));
    EXPECT_TRUE(decoded[4].isfinite().all().item<bool>());
    EXPECT_EQ(scales[4][0].item<int>(), 252);
  }
}

TEST(Mxfp4, MseRuleIsNeverWorseAndBetterOnGaussianValues) {
  const at::Tensor x = normal({512, 1024}, 1);
  const auto squares = [&](ScaleRule rule) {
    return (x - round_trip(x, rule)).to(at::kDouble).square().view({-1, 32}).sum(1);
  };
  const at::Tensor spec = squares(ScaleRule::spec), mse = squares(ScaleRule::mse);
  EXPECT_TRUE(mse.le(spec * (1 + 1e-5)).all().item<bool>());
  const double less = 1 - mse.sum().item<double>() / spec.sum().item<double>();
  const QuantError spec_error = quant_error(x, round_trip(x, ScaleRule::spec));
  const QuantError mse_error = quant_error(x, round_trip(x, ScaleRule::mse));
  std::cout << "squared error of the mse rule: " << 100 * less << " % less; relative RMS " << spec_error.relative_rms()
            << " (spec), " << mse_error.relative_rms() << " (mse)\n";
  EXPECT_GT(less, 0.04);
  EXPECT_LT(less, 0.08);
}

TEST(Mxfp4, EveryMagnitudeLosesTheSame) {
  const at::Tensor x = normal({32, 256}, 6);
  for (const int64_t group_size : {32, 64, 128}) {
    for (const ScaleRule rule : {ScaleRule::spec, ScaleRule::mse}) {
      const auto plain = quantize_mxfp4(x, rule, group_size, "w");
      for (const int exponent : {-120, -100, -20, 20, 100, 120}) {
        const auto [blocks, scales] = quantize_mxfp4(x * std::ldexp(1.0, exponent), rule, group_size, "w");
        EXPECT_TRUE(same_bytes(blocks, plain.blocks)) << exponent;
        EXPECT_TRUE(scales.to(at::kInt).equal(plain.scales.to(at::kInt) + exponent)) << exponent;
      }
      for (int decade = -6; decade <= 6; ++decade) {
        const at::Tensor weights = x * std::pow(10.0, decade);
        const auto [blocks, scales] = quantize_mxfp4(weights, rule, group_size, "w");
        EXPECT_LT(quant_error(weights, dequantize_mxfp4(blocks, scales, at::kFloat)).relative_rms(), 0.13) << decade;
      }
    }
  }
}

TEST(Mxfp4, GroupsShareOneScaleAndTheLastMayBeShorter) {
  const at::Tensor x = normal({7, 160}, 2) * at::arange(1, 161, at::kFloat);
  for (const int64_t group_size : {64, 128}) {
    const auto [blocks, scales] = quantize_mxfp4(x, ScaleRule::mse, group_size, "w");
    for (int64_t row = 0; row < 7; ++row) {
      for (int64_t first = 0; first < 160; first += group_size) {
        const auto size = static_cast<size_t>(std::min<int64_t>(group_size, 160 - first));
        std::array<uint8_t, 64> bytes;
        const float* values = x.const_data_ptr<float>() + row * 160 + first;
        const uint8_t scale = encode_mxfp4({values, size}, ScaleRule::mse, bytes.data());
        EXPECT_TRUE(scales[row].slice(0, first / 32, (first + size) / 32).eq(scale).all().item<bool>());
        EXPECT_EQ(std::memcmp(blocks.const_data_ptr<uint8_t>() + row * 80 + first / 2, bytes.data(), size / 2), 0);
      }
    }
  }
}

TEST(Mxfp4, ShortTypesAndViewsAreEncodedAsTheirValues) {
  const at::Tensor x = normal({2, 64, 3, 7}, 3).transpose(1, 3).to(at::kBFloat16).requires_grad_(true);
  for (const at::Tensor& values : {x, x.to(at::kHalf)}) {
    const auto [blocks, scales] = quantize_mxfp4(values, ScaleRule::mse, 32, "w");
    EXPECT_EQ(blocks.sizes(), at::IntArrayRef({2, 7, 3, 2, 16}));
    EXPECT_EQ(scales.sizes(), at::IntArrayRef({2, 7, 3, 2}));
    const auto expected = quantize_mxfp4(values.to(at::kFloat), ScaleRule::mse, 32, "w");
    EXPECT_TRUE(same_bytes(blocks, expected.blocks) && same_bytes(scales, expected.scales));
  }
}

TEST(Mxfp4, ValuesThatAreNotFiniteAreErrorsWithTensorAndPlace) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    at::Tensor x = normal({3, 500, 64}, 4);  // enough for several threads
    x[2][1][37] = bad;
    const std::string message =
        error_of(ErrorKind::data, [&] { quantize_mxfp4(x, ScaleRule::mse, 64, "layers.3.down_proj"); });
    expect_contains(message, "layers.3.down_proj");
    expect_contains(message, "[2, 1, 37]");
  }
}

TEST(Mxfp4, OtherShapesTypesAndGroupSizesAreErrors) {
  const auto quantize = [](const at::Tensor& x, int64_t group_size) {
    return error_of(ErrorKind::usage, [&] { quantize_mxfp4(x, ScaleRule::spec, group_size, "weight"); });
  };
  expect_contains(quantize(at::zeros({4, 33}), 32), "weight is [4, 33], expected [..., rows, in]");
  expect_contains(quantize(at::zeros({64}), 32), "weight is [64]");
  expect_contains(quantize(at::zeros({4, 32}, at::kDouble), 32), "weight is Double, expected Float");
  expect_contains(quantize(at::zeros({4, 96}), 96), "group_size is 96, expected 32, 64 or 128");
  const auto dequantize = [](at::IntArrayRef blocks, at::IntArrayRef scales, at::ScalarType type) {
    return error_of(ErrorKind::usage,
                    [&] { dequantize_mxfp4(at::zeros(blocks, at::kByte), at::zeros(scales, at::kByte), type); });
  };
  expect_contains(dequantize({4, 2, 15}, {4, 2}, at::kFloat), "[4, 2, 15]");
  expect_contains(dequantize({4, 2, 16}, {4, 3}, at::kFloat), "[4, 3]");
  expect_contains(dequantize({4, 2, 16}, {4, 2}, at::kInt), "not to Int");
}

TEST(QuantError, FindsTheShareLostAndTheWorstBlock) {
  const at::Tensor x = at::ones({2, 3, 64});
  at::Tensor decoded = x.clone();
  decoded[0][1].slice(0, 0, 32).mul_(1.1);
  decoded[1][2].slice(0, 32, 64).mul_(0.5);
  const QuantError error = quant_error(x, decoded);
  EXPECT_NEAR(error.relative_rms(), std::sqrt((32 * 0.01 + 32 * 0.25) / 384), 1e-6);
  EXPECT_NEAR(error.worst_block, 0.5, 1e-6);
  EXPECT_EQ(error.worst_row, 5);
  EXPECT_EQ(error.worst_column, 32);
  EXPECT_EQ(quant_error(at::zeros({1, 32}), at::zeros({1, 32})).relative_rms(), 0);
  EXPECT_TRUE(std::isinf(quant_error(at::zeros({1, 32}), at::ones({1, 32})).worst_block));
  expect_contains(error_of(ErrorKind::usage,
                           [&] {
                             quant_error(x, at::ones({6, 64}));
                           }),
                  "[6, 64], expected [2, 3, 64]");
}
