#include "xinslm/ops/packed.h"

#include "mps/fake_shim.h"
#include "mps/matches.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

c10::intrusive_ptr<Mxfp4Tensor> mxfp4(const at::Tensor& weight) {
  const Mxfp4Blocks blocks = quantize_mxfp4(weight, ScaleRule::mse, 32, "weight");
  return Mxfp4Tensor::from_checkpoint(blocks.blocks, blocks.scales, "weight");
}

c10::intrusive_ptr<Q8Tensor> q8(const at::Tensor& weight) {
  const Q8Blocks blocks = quantize_q8(weight, "weight");
  return Q8Tensor::from_checkpoint(blocks.values, blocks.scales, "weight");
}

template <class Packed>
void expect_linear_matches(const c10::intrusive_ptr<Packed>& weight, int64_t count, bool biased) {
  const int64_t rows = weight->sizes()[0], in = weight->sizes()[1];
  SCOPED_TRACE(::testing::Message() << weight->type_name() << " " << count << " x " << in << " to " << rows);
  const at::Tensor exact = weight->dequantize(at::kFloat).to(at::kDouble);
  const auto linear = [&](const Tensors& t) { return packed_linear(t[0], weight, t[1]); };
  const auto reference = [&](const Tensors& t) {
    const at::Tensor y = t[0].matmul(exact.t());
    return t[1].defined() ? y + t[1] : y;
  };
  expect_metal_matches(linear, reference, {normal({count, in}, 1), biased ? normal({rows}, 2) : at::Tensor()}, {1}, 1);
}

struct Sizes {
  int64_t tokens, hidden, width, experts, k;
};

PackedExpertWeights packed_experts(const Sizes& s, bool biases) {
  PackedExpertWeights experts;
  experts.gate_up = std::make_shared<ExpertMatrices>(mxfp4(normal({s.experts, 2 * s.width, s.hidden}, 3) * 0.3));
  experts.down = std::make_shared<ExpertMatrices>(mxfp4(normal({s.experts, s.hidden, s.width}, 5) * 0.3));
  if (biases) {
    experts.gate_up_bias = normal({s.experts, 2 * s.width}, 4);
    experts.down_bias = normal({s.experts, s.hidden}, 6);
  }
  return experts;
}

/// x and routing weights to the output.
template <class Experts>
Operator with_choices(Experts op, const at::Tensor& chosen, const PackedExpertWeights& experts) {
  return [=](const Tensors& t) { return op(t[0], Routing{chosen, t[1]}, experts, 7.0); };
}

void expect_experts_match(const Sizes& s, const at::Tensor& chosen, bool biases) {
  SCOPED_TRACE(::testing::Message() << s.tokens << " tokens, " << s.experts << " experts, biases " << biases);
  const PackedExpertWeights experts = packed_experts(s, biases);
  using Op = at::Tensor (*)(const at::Tensor&, const Routing&, const PackedExpertWeights&, double);
  const ExpertWeights decoded{experts.gate_up->source().dequantize(at::kFloat).transpose(1, 2).to(at::kDouble),
                              experts.gate_up_bias, experts.down->source().dequantize(at::kFloat).transpose(1, 2).to(at::kDouble),
                              experts.down_bias};
  const Operator reference = [&](const Tensors& t) { return moe_experts_ref(t[0], {chosen, t[1]}, decoded, 7.0); };
  const Tensors inputs{normal({s.tokens, s.hidden}, 1), normal({s.tokens, s.k}, 2).softmax(-1)};
  expect_metal_matches(with_choices(static_cast<Op>(moe_experts), chosen, experts), reference, inputs, {1}, 2);
}

/// k different experts for each token, never one of the last `unused`.
at::Tensor choices_of(const Sizes& s, int64_t unused) {
  return std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1));
}

}  // namespace

TEST(MetalPackedLinear, MatchesTheDecodedWeightsOnOddSizes) {
  const SimulatedMetal metal;
  for (const int64_t count : {1, 3, 5, 33, 67}) {
    for (const auto& [rows, in] : std::vector<std::pair<int64_t, int64_t>>{{1, 32}, {16, 64}, {35, 544}, {67, 96}}) {
      const at::Tensor weight = normal({rows, in}, 3) * 0.3;
      expect_linear_matches(mxfp4(weight), count, count % 2 == 1);
      expect_linear_matches(q8(weight), count, rows % 2 == 1);
    }
  }
}

TEST(MetalPackedLinear, IsOneLaunch) {
  const SimulatedMetal metal;
  const auto weight = mxfp4(normal({40, 64}, 3));
  packed_linear(normal({1, 64}, 1), weight, {});
  packed_linear(normal({9, 64}, 1), weight, {});
  ASSERT_EQ(metal.launches().size(), 2U);
  EXPECT_EQ(metal.launches()[0].kernel, "linear_vector_mxfp4_float");
  EXPECT_EQ(metal.launches()[1].kernel, "product_transposed_mxfp4_float");
}

TEST(MetalPackedLinear, TakesRowsOfALargerTensorAndAnyLayout) {
  const SimulatedMetal metal;
  const at::Tensor weight = normal({24, 64}, 3), all = normal({12, 65}, 1);
  const at::Tensor x = all.narrow(1, 1, 64), exact = x.mm(mxfp4(weight)->dequantize(at::kFloat).t());
  for (const int64_t first : {0, 3}) {
    const at::Tensor part = x.narrow(0, first, 9);
    EXPECT_LT(distance(packed_linear(part, mxfp4(weight)->repack(PackedLayout::rows16), {}), exact.narrow(0, first, 9)),
              1e-5);
  }
}

TEST(MetalPackedExperts, MatchTheReferenceOnOddSizes) {
  const SimulatedMetal metal;
  for (const Sizes& s : {Sizes{1, 32, 32, 4, 4}, {3, 96, 64, 8, 3}, {37, 64, 96, 4, 2}, {67, 32, 160, 3, 1}}) {
    for (const int64_t unused : {int64_t{0}, s.experts - s.k}) expect_experts_match(s, choices_of(s, unused), unused == 0);
  }
}

TEST(MetalPackedExperts, MatchTheReferenceWithOneTokenInOneExpertAndTheRestInAnother) {
  const SimulatedMetal metal;
  const Sizes s{66, 64, 32, 5, 1};
  at::Tensor chosen = at::full({s.tokens, 1}, 3, at::kLong);
  chosen[17][0] = 1;
  expect_experts_match(s, chosen, true);
}

TEST(MetalPackedExperts, TakeTwoLaunchesForOneToken) {
  const SimulatedMetal metal;
  for (const int64_t k : {1, 2, 3, 4, 5}) {
    const Sizes s{1, 64, 96, 6, k};
    const PackedExpertWeights experts = packed_experts(s, true);
    const Routing routing{choices_of(s, 0), normal({1, k}, 2).softmax(-1)};
    const at::Tensor x = normal({1, s.hidden}, 1);
    const size_t before = metal.launches().size();
    const at::Tensor out = moe_experts(x, routing, experts, 7.0);
    EXPECT_EQ(metal.launches().size() - before, 2U);
    EXPECT_LT(distance(out, moe_experts_ref(x, routing, experts, 7.0)), 2e-5) << k;
  }
}
