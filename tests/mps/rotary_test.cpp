#include "xinslm/ops/rotary.h"

#include "mps/check.h"
#include "xinslm/ops/rms_norm.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// [B, heads, T, D] as the model has it: heads split off a dense [B, T, heads * D].
at::Tensor split(const at::Tensor& x) {
  return x.transpose(1, 2);
}

struct Angles {
  at::Tensor cos, sin;
  Angles(int64_t tokens, int64_t width) : cos(normal({tokens, width / 2}, 5)), sin(normal({tokens, width / 2}, 6)) {}
};

}  // namespace

TEST(MetalRotary, MatchesReferenceOnOddSizes) {
  for (const auto& [tokens, heads, width] : {std::tuple{5, 3, 14}, {1, 11, 64}, {7, 1, 70}}) {
    const Angles a(tokens, width);
    expect_metal_matches([&](const Tensors& t) { return rotary(split(t[0]), a.cos, a.sin); },
                         [&](const Tensors& t) { return rotary_ref(split(t[0]), a.cos, a.sin); },
                         {normal({2, tokens, heads, width}, 1)}, {}, "rotary_turn");
  }
}

TEST(MetalRotary, TakesRowsThatAreNotDense) {
  const Angles a(4, 6);
  const at::Tensor x = normal({1, 2, 6, 4}, 1).transpose(2, 3), expected = rotary_ref(x, a.cos, a.sin);
  const SimulatedMetal metal;
  EXPECT_LE(distance(rotary(x, a.cos, a.sin), expected), 1e-6);
  EXPECT_EQ(metal.count("rotary_turn_float"), 1);
}

TEST(MetalRmsNormRotary, MatchesBothReferences) {
  for (const int64_t width : {14, 64, 130}) {
    const Angles a(3, width);
    const at::Tensor x = split(normal({2, 3, 9, width}, 1)), gain = normal({width}, 2);
    for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const at::Tensor rounded = x.to(type);
      const at::Tensor expected = rotary_ref(rms_norm_ref(rounded.to(at::kFloat), gain, 1e-5), a.cos, a.sin);
      const SimulatedMetal metal;
      const at::Tensor found = rms_norm_rotary(rounded, gain, 1e-5, a.cos, a.sin);
      EXPECT_LE(distance(found.to(at::kFloat), expected), type == at::kFloat ? 1e-6 : 2e-2);
      EXPECT_EQ(metal.launches().size(), 1u);
    }
  }
}

TEST(MetalRmsNormRotary, HasGradients) {
  const Angles a(3, 10);
  expect_metal_matches(
      [&](const Tensors& t) { return rms_norm_rotary(split(t[0]), t[1], 1e-5, a.cos, a.sin); },
      [&](const Tensors& t) { return rotary_ref(rms_norm_ref(split(t[0]), t[1], 1e-5), a.cos, a.sin); },
      {normal({2, 3, 4, 10}, 1), normal({10}, 2)}, {1}, "rms_norm_backward");
}
