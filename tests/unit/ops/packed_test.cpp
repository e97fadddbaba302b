#include "xinslm/ops/packed.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "unit/ops/check.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

c10::intrusive_ptr<Mxfp4Tensor> packed(const at::Tensor& weight, PackedLayout layout = PackedLayout::rows16) {
  const Mxfp4Blocks blocks = quantize_mxfp4(weight, ScaleRule::mse, 32, "weight");
  return Mxfp4Tensor::from_checkpoint(blocks.blocks, blocks.scales, "weight")->repack(layout);
}

c10::intrusive_ptr<Q8Tensor> packed_q8(const at::Tensor& weight) {
  const Q8Blocks blocks = quantize_q8(weight, "weight");
  return Q8Tensor::from_checkpoint(blocks.values, blocks.scales, "weight")->repack(PackedLayout::rows16);
}

/// x rounded as the kernels round it: 8 bits in stretches of 128, the last one shorter, ties to even; [.., in] float64.
at::Tensor in_eight_bits(const at::Tensor& x) {
  std::vector<at::Tensor> stretches;
  for (const at::Tensor& stretch : x.split(128, -1)) {
    const at::Tensor amax = stretch.abs().amax(-1, true);
    stretches.push_back((stretch.to(at::kDouble) * (127.0f / amax)).round() * (amax / 127.0f));
  }
  return at::cat(stretches, -1);
}

/// Weights whose blocks of 32 are of sizes up to 2^`most` times those of others.
at::Tensor uneven(int64_t rows, int64_t in, int64_t most, uint64_t seed) {
  const at::Tensor exponents = (normal({rows, in / 32, 1}, seed + 1).abs() * static_cast<double>(most)).floor();
  return (normal({rows, in / 32, 32}, seed) * exponents.clamp_max(static_cast<double>(most)).exp2()).flatten(1);
}

/// x as a product of `count` rows takes it: where there are matrix tiles, they take many rows in bfloat16.
at::Tensor as_taken(const at::Tensor& x, int64_t count) {
  const bool in_tiles = active_isa() == Isa::amx && count >= 9;
  return in_tiles ? x.to(at::kBFloat16).to(at::kDouble) : in_eight_bits(x);
}

/// Runs once for each instruction set there are kernels for; says which this processor lacks.
class PackedOnIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    const auto& supported = supported_isas();
    if (std::find(supported.begin(), supported.end(), GetParam()) == supported.end()) {
      GTEST_SKIP() << "this processor lacks " << isa_name(GetParam());
    }
    before_ = active_isa();
    set_active_isa(GetParam());
  }
  void TearDown() override {
    if (before_) set_active_isa(*before_);
  }

 private:
  std::optional<Isa> before_;
};

#if defined(__aarch64__)
const auto isas = ::testing::Values(Isa::scalar, Isa::neon_dotprod, Isa::neon_i8mm);
#else
const auto isas = ::testing::Values(Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx);
#endif
INSTANTIATE_TEST_SUITE_P(Kernels, PackedOnIsa, isas, [](const auto& of) { return isa_name(of.param); });

}  // namespace

TEST_P(PackedOnIsa, LinearIsAsExactForEveryMagnitudeOfWeights) {
  const at::Tensor base = normal({35, 96}, 2);
  for (int decade = -8; decade <= 4; ++decade) {
    const at::Tensor weight = base * std::pow(10.0, decade);
    const auto four = packed(weight);
    const auto eight = packed_q8(weight);
    for (const int64_t count : {1, 3, 20}) {
      SCOPED_TRACE(::testing::Message() << "1e" << decade << ", " << count << " rows");
      const at::Tensor x = normal({count, 96}, 1), taken = as_taken(x, count);
      const auto relative = [](const at::Tensor& found, const at::Tensor& expected) {
        return ((found - expected).abs().max() / expected.abs().max()).item<double>();
      };
      EXPECT_LT(relative(packed_linear(x, four, {}), taken.mm(four->dequantize(at::kFloat).to(at::kDouble).t())), 4e-6);
      EXPECT_LT(relative(packed_linear(x, eight, {}), taken.mm(eight->dequantize(at::kFloat).to(at::kDouble).t())),
                active_isa() == Isa::amx && count >= 9 ? 2e-2 : 4e-6);
    }
  }
}

TEST_P(PackedOnIsa, LinearIsExactButForTheRoundingOfActivations) {
  std::vector<int64_t> counts = {33, 67};
  for (int64_t count = 1; count <= 18; ++count) counts.push_back(count);
  for (const int64_t count : counts) {
    for (const auto& [rows, in, most] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
             {1, 32, 0}, {16, 64, 1}, {35, 160, 0}, {35, 224, 3}, {67, 96, 12}}) {
      SCOPED_TRACE(::testing::Message() << count << " x " << in << " to " << rows << ", sizes up to 2^" << most);
      const at::Tensor x = normal({count, in}, 1), weight = uneven(rows, in, most, 2), bias = normal({rows}, 3);
      const auto four = packed(weight);
      const auto eight = packed_q8(weight);
      const at::Tensor taken = as_taken(x, count);
      EXPECT_LT(
          distance(packed_linear(x, four, bias), taken.mm(four->dequantize(at::kFloat).to(at::kDouble).t()) + bias),
          2e-6);
      EXPECT_LT(distance(packed_linear(x, eight, {}), taken.mm(eight->dequantize(at::kFloat).to(at::kDouble).t())),
                GetParam() == Isa::amx ? 4e-3 : 2e-6);
    }
  }
}

TEST_P(PackedOnIsa, LinearIsExactOverManyBlocks) {
  for (const int64_t count : {1, 8, 9, 17, 67}) {  // kernels of narrow tiles take many rows in stretches of 16 blocks
    SCOPED_TRACE(count);
    const at::Tensor x = normal({count, 1088}, 1), weight = normal({35, 1088}, 2), taken = as_taken(x, count);
    const auto four = packed(weight);
    const auto eight = packed_q8(weight);
    EXPECT_LT(distance(packed_linear(x, four, {}), taken.mm(four->dequantize(at::kFloat).to(at::kDouble).t())), 1e-5);
    EXPECT_LT(distance(packed_linear(x, eight, {}), taken.mm(eight->dequantize(at::kFloat).to(at::kDouble).t())), 1e-5);
  }
}

TEST_P(PackedOnIsa, LargestValuesDoNotOverflowSumsOf16Bits) {
  for (const double weight_sign : {1.0, -1.0}) {
    for (const double sign : {1.0, -1.0}) {
      const at::Tensor x = at::full({9, 64}, sign * 127), weight = at::full({16, 64}, weight_sign * 6);
      EXPECT_TRUE(packed_linear(x, packed(weight), {}).eq(sign * weight_sign * 127 * 6 * 64).all().item<bool>());
      const at::Tensor uneven = at::cat({weight, weight / 8, weight, weight / 4}, 1);
      const at::Tensor wide = at::full({9, 256}, sign * 127);
      const double sum = 127 * 6 * 64 * (1 + 0.125 + 1 + 0.25);
      EXPECT_TRUE(packed_linear(wide, packed(uneven), {}).eq(sign * weight_sign * sum).all().item<bool>());
      const at::Tensor whole = at::full({16, 64}, weight_sign * 127);
      const at::Tensor found = packed_linear(x, packed_q8(whole), {});
      EXPECT_LT((found - sign * weight_sign * 127 * 127 * 64).abs().max().item<double>(), 0.001 * 127 * 127 * 64);
    }
  }
}

TEST_P(PackedOnIsa, LinearDoesNotDependOnTheRowsComputedTogether) {
  const int64_t least = GetParam() == Isa::amx ? 9 : 1;  // fewer rows are not taken in tiles
  for (const int64_t most : {0, 2, 12}) {
    const auto weight = packed(uneven(48, 224, most, 2));
    const at::Tensor x = normal({37, 224}, 1), all = packed_linear(x, weight, {});
    for (int64_t row = 0; row + least <= 37; ++row) {
      EXPECT_TRUE(packed_linear(x.narrow(0, row, least), weight, {}).equal(all.narrow(0, row, least)))
          << row << ", sizes up to 2^" << most;
    }
  }
}

TEST(PackedLinear, GradientIsThatOfTheExactWeights) {
  const auto weight = packed(normal({40, 64}, 2));
  at::Tensor x = normal({5, 64}, 1).requires_grad_(true);
  const at::Tensor grad = normal({5, 40}, 3);
  packed_linear(x, weight, normal({40}, 4)).backward(grad);
  EXPECT_LT(distance(x.grad(), grad.mm(weight->dequantize(at::kFloat))), 1e-6);
}

TEST(PackedLinear, TakesEitherLayoutAndType) {
  const at::Tensor weight = normal({32, 64}, 2), x = normal({3, 64}, 1);
  EXPECT_TRUE(
      packed_linear(x, packed(weight), {}).equal(packed_linear(x, packed(weight, PackedLayout::checkpoint), {})));
  const at::Tensor half = packed_linear(x.to(at::kBFloat16), packed(weight), {});
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_LT(distance(half, packed_linear(x, packed(weight), {})), 2e-2);
}

TEST(PackedLinear, RejectsWhatDoesNotFit) {
  const auto weight = packed(normal({32, 64}, 2));
  expect_usage_error([&] { packed_linear(normal({3, 32}, 1), weight, {}); }, "[..., in] and [rows, in]");
  expect_usage_error([&] { packed_linear(normal({3, 64}, 1), weight, normal({3}, 1)); }, "one for each row");
}

namespace {

struct Sizes {
  int64_t tokens, hidden, width, experts, k;
};

PackedExpertWeights packed_experts(const Sizes& s, bool biases) {
  PackedExpertWeights experts;
  const auto matrices = [](const at::Tensor& values) {
    return std::make_shared<ExpertMatrices>(packed(values, PackedLayout::checkpoint));
  };
  experts.gate_up = matrices(normal({s.experts, 2 * s.width, s.hidden}, 3) * 0.3);
  experts.down = matrices(normal({s.experts, s.hidden, s.width}, 5) * 0.3);
  if (biases) {
    experts.gate_up_bias = normal({s.experts, 2 * s.width}, 4);
    experts.down_bias = normal({s.experts, s.hidden}, 6);
  }
  return experts;
}

/// k different experts for each token, never one of the last `unused`.
Routing routing_of(const Sizes& s, int64_t unused) {
  return {std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1)), normal({s.tokens, s.k}, 2).softmax(-1)};
}

}  // namespace

TEST_P(PackedOnIsa, ExpertsMatchTheReferenceWithinTheRoundingOfActivations) {
  for (const Sizes& s : {Sizes{1, 32, 32, 4, 4}, {37, 64, 96, 4, 2}, {67, 96, 64, 8, 3}, {300, 64, 32, 3, 1}}) {
    for (const int64_t unused : {int64_t{0}, s.experts - s.k}) {
      SCOPED_TRACE(::testing::Message() << s.tokens << " tokens, unused " << unused);
      const at::Tensor x = normal({s.tokens, s.hidden}, 1);
      const PackedExpertWeights experts = packed_experts(s, unused == 0);
      const Routing routing = routing_of(s, unused);
      const at::Tensor exact = moe_experts_ref(x, routing, experts, 7.0), fast = moe_experts(x, routing, experts, 7.0);
      const double error = ((fast - exact).pow(2).mean() / exact.pow(2).mean()).sqrt().item<double>();
      EXPECT_LT(error, 0.015);
      EXPECT_GT(error, 1e-6);  // it is the packed product that was run
      experts.gate_up->lay_out();
      experts.down->lay_out();
      EXPECT_TRUE(moe_experts(x, routing, experts, 7.0).equal(fast));  // laid out or read as stored: the same
    }
  }
}

TEST_P(PackedOnIsa, ExpertsWithScalesFarApartAreTheSameLaidOutOrNot) {
  const Sizes s{37, 64, 96, 4, 2};
  PackedExpertWeights experts = packed_experts(s, false);
  const at::Tensor down = uneven(s.experts * s.hidden, s.width, 20, 5).view({s.experts, s.hidden, s.width});
  experts.down = std::make_shared<ExpertMatrices>(packed(down, PackedLayout::checkpoint));
  const at::Tensor x = normal({s.tokens, s.hidden}, 1), stored = moe_experts(x, routing_of(s, 0), experts, 7.0);
  experts.down->lay_out();
  ASSERT_FALSE(experts.down->rows16().scales_in_halves());
  EXPECT_TRUE(moe_experts(x, routing_of(s, 0), experts, 7.0).equal(stored));
}

TEST(PackedExperts, GradientIsThatOfTheExactWeights) {
  const Sizes s{9, 32, 64, 4, 2};
  const PackedExpertWeights experts = packed_experts(s, true);
  const Routing routing = routing_of(s, 1);
  const auto gradients = [&](auto op) {
    return forward_and_backward(
        [&](const Tensors& t) {
          return op(t[0], Routing{routing.chosen, t[1]}, experts, 7.0);
        },
        {normal({s.tokens, s.hidden}, 1), routing.weights});
  };
  using Op = at::Tensor (*)(const at::Tensor&, const Routing&, const PackedExpertWeights&, double);
  const auto fast = gradients(static_cast<Op>(moe_experts)), exact = gradients(static_cast<Op>(moe_experts_ref));
  EXPECT_LT(distance(fast[1], exact[1]), 1e-5);
  EXPECT_LT(distance(fast[2], exact[2]), 1e-5);
}
