#include "xinslm/ops/packed.h"

#include "mps/check.h"
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

/// @param kernel  the beginning of the name of one that must run
template <class Packed>
void expect_linear_matches(const c10::intrusive_ptr<Packed>& weight, int64_t count, bool biased,
                           const std::string& kernel) {
  const int64_t rows = weight->sizes()[0], in = weight->sizes()[1];
  SCOPED_TRACE(::testing::Message() << weight->type_name() << " " << count << " x " << in << " to " << rows);
  const at::Tensor exact = weight->dequantize(at::kFloat).t(), bias = biased ? normal({rows}, 2) : at::Tensor();
  const auto fast = [&](const Tensors& t) { return packed_linear(t[0], weight, bias); };
  const auto reference = [&](const Tensors& t) { return biased ? t[0].mm(exact) + bias : t[0].mm(exact); };
  expect_metal_matches(fast, reference, {normal({count, in}, 1)}, {}, kernel);
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

using Op = at::Tensor (*)(const at::Tensor&, const Routing&, const PackedExpertWeights&, double);

/// With gradients, and without in each of the types.
void expect_experts_match(const Sizes& s, const at::Tensor& chosen, bool biases, bool are_few) {
  SCOPED_TRACE(::testing::Message() << s.tokens << " tokens, " << s.experts << " experts, biases " << biases);
  const PackedExpertWeights experts = packed_experts(s, biases);
  const auto with = [&](Op op) { return [&, op](const Tensors& t) { return op(t[0], {chosen, t[1]}, experts, 7.0); }; };
  const Operator fast = with(moe_experts), reference = with(moe_experts_ref);
  const Tensors inputs{normal({s.tokens, s.hidden}, 1), normal({s.tokens, s.k}, 2).softmax(-1)};
  // A value that is rounded across the clamp's limit gains or loses its gradient.
  expect_metal_matches(fast, reference, inputs, {1}, "gate_up_mxfp4", {.float32 = 2e-5, .bfloat16 = 0.1});
  for (const auto& [type, allowed] : {std::pair{at::kFloat, 2e-5}, {at::kHalf, 4e-3}, {at::kBFloat16, 2e-2}}) {
    const at::Tensor x = inputs[0].to(type), expected = reference({x.to(at::kFloat), inputs[1]});
    const SimulatedMetal metal;
    EXPECT_LE(distance(fast({x, inputs[1]}), expected), allowed) << type;
    EXPECT_EQ(metal.launches()[0].kernel.starts_with("gate_up_vector"), are_few);
  }
}

/// k different experts for each token, never one of the last `unused`.
at::Tensor choices_of(const Sizes& s, int64_t unused) {
  return std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1));
}

}  // namespace

TEST(MetalPackedLinear, MatchesTheDecodedWeightsOnOddSizes) {
  struct Case {
    int64_t count, rows, in;
  };
  for (const auto& [count, rows, in] : {Case{1, 1, 32}, {3, 35, 544}, {5, 16, 64}, {33, 67, 96}, {67, 35, 160}}) {
    const at::Tensor weight = normal({rows, in}, 3) * 0.3;
    const std::string kernel = count <= 4 ? "linear_vector_" : "product_transposed_";
    expect_linear_matches(mxfp4(weight), count, count % 2 == 1, kernel + "mxfp4");
    expect_linear_matches(q8(weight), count, rows % 2 == 1, kernel + "q8");
  }
}

TEST(MetalPackedLinear, IsOneLaunch) {
  const auto weight = mxfp4(normal({40, 64}, 3));
  const SimulatedMetal metal;
  packed_linear(normal({1, 64}, 1), weight, {});
  packed_linear(normal({9, 64}, 1), weight, {});
  ASSERT_EQ(metal.launches().size(), 2U);
  EXPECT_EQ(metal.launches()[0].kernel, "linear_vector_mxfp4_float");
  EXPECT_EQ(metal.launches()[1].kernel, "product_transposed_mxfp4_float");
}

TEST(MetalPackedLinear, TakesRowsOfALargerTensorAndAnyLayout) {
  const auto weight = mxfp4(normal({24, 64}, 3)), laid_out = weight->repack(PackedLayout::rows16);
  const at::Tensor x = normal({12, 65}, 1).narrow(1, 1, 64), exact = x.mm(weight->dequantize(at::kFloat).t());
  const at::Tensor row = normal({131}, 2).narrow(0, 3, 128).view({2, 64});
  const at::Tensor exact_row = row.mm(weight->dequantize(at::kFloat).t());
  const SimulatedMetal metal;
  EXPECT_LT(distance(packed_linear(x, laid_out, {}), exact), 1e-5);
  EXPECT_LT(distance(packed_linear(x.narrow(0, 3, 2), laid_out, {}), exact.narrow(0, 3, 2)), 1e-5);
  EXPECT_LT(distance(packed_linear(row, weight, {}), exact_row), 1e-5);
}

TEST(MetalPackedEmbedding, LooksUpTheSameRows) {
  const auto weight = q8(normal({9, 96}, 3));
  const at::Tensor tokens = at::tensor({8, 0, 3, 3, 1, 7}, at::kLong).view({2, 3});
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor expected = weight->select_rows(tokens, type);
    const SimulatedMetal metal;
    EXPECT_TRUE(packed_embedding(weight, tokens, type).equal(expected)) << type;
    EXPECT_EQ(metal.launches().size(), 1U);
  }
  const SimulatedMetal metal;
  EXPECT_TRUE(packed_embedding(weight, at::tensor({9, -1}, at::kLong), at::kFloat).isnan().all().item<bool>());
}

TEST(MetalPackedExperts, MatchTheReferenceOnOddSizes) {
  const auto check = [](const Sizes& s, bool are_few) {
    expect_experts_match(s, choices_of(s, 0), true, are_few);
    expect_experts_match(s, choices_of(s, s.experts - s.k), false, are_few);
  };
  check({1, 32, 32, 4, 4}, true);
  check({3, 160, 32, 8, 3}, true);
  check({21, 64, 32, 4, 2}, false);
  check({67, 32, 96, 3, 1}, false);
}

TEST(MetalPackedExperts, MatchTheReferenceWithOneTokenInOneExpertAndTheRestInAnother) {
  const Sizes s{66, 64, 32, 5, 1};
  at::Tensor chosen = at::full({s.tokens, 1}, 3, at::kLong);
  chosen[17][0] = 1;
  expect_experts_match(s, chosen, true, false);
}

TEST(MetalPackedExperts, TakeTwoLaunchesForOneToken) {
  for (const int64_t k : {1, 2, 3, 4, 5}) {
    const Sizes s{1, 64, 96, 6, k};
    const PackedExpertWeights experts = packed_experts(s, true);
    const Routing routing{choices_of(s, 0), normal({1, k}, 2).softmax(-1)};
    const at::Tensor x = normal({1, s.hidden}, 1), expected = moe_experts_ref(x, routing, experts, 7.0);
    const SimulatedMetal metal;
    EXPECT_LT(distance(moe_experts(x, routing, experts, 7.0), expected), 2e-5) << k;
    EXPECT_EQ(metal.launches().size(), 2U);
  }
}
