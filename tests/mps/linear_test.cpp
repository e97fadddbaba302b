#include "xinslm/ops/linear.h"

#include "mps/check.h"
#include "xinslm/ops/embedding.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

at::Tensor fast(const Tensors& t) {
  return xinslm::linear(t[0], t[1], t[2]);
}
at::Tensor reference(const Tensors& t) {
  return linear_ref(t[0], t[1], t[2]);
}

}  // namespace

TEST(MetalLinear, FewRowsMatchReference) {
  expect_metal_matches(fast, reference, {normal({1, 37}, 1), normal({11, 37}, 2), normal({11}, 3)}, {2},
                       "linear_few_rows");
  expect_metal_matches(fast, reference, {normal({2, 2, 136}, 1), normal({5, 136}, 2), normal({5}, 3)}, {2},
                       "linear_few");
  expect_metal_matches(fast, reference, {normal({3, 260}, 1), normal({130, 260}, 2), {}}, {}, "linear_few_rows");
}

TEST(MetalLinear, ManyRowsMatchReference) {
  expect_metal_matches(fast, reference, {normal({9, 7, 37}, 1), normal({70, 37}, 2), normal({70}, 3)}, {2}, "add_bias");
}

TEST(MetalLinear, FewRowsFromTheMiddleOfATensor) {
  const at::Tensor x = normal({7, 8}, 1), weight = normal({6, 8}, 2);
  for (int64_t begin : {0, 1, 4}) {  // addresses that are and are not those of four numbers
    const at::Tensor part = x.view(-1).narrow(0, begin, 8).view({1, 8});
    const at::Tensor expected = linear_ref(part, weight, {});
    const SimulatedMetal metal;
    EXPECT_LE(distance(xinslm::linear(part, weight, {}), expected), 1e-6);
    EXPECT_EQ(std::get<int64_t>(metal.launches().at(0).arguments[8]), begin % 4 == 0);
  }
}

TEST(MetalEmbedding, MatchesReference) {
  const at::Tensor tokens = at::tensor({3, 0, 3, 6, 6, 3, 1, 0}, at::kLong).view({2, 4});
  expect_metal_matches([&](const Tensors& t) { return xinslm::embedding(t[0], tokens); },
                       [&](const Tensors& t) { return embedding_ref(t[0], tokens); }, {normal({7, 37}, 1)}, {},
                       "embedding_backward");
}

TEST(MetalEmbedding, UnknownTokenGivesNoNumbers) {
  const at::Tensor weight = normal({7, 5}, 1).requires_grad_(true), tokens = at::tensor({2, 7, -1}, at::kLong);
  const SimulatedMetal metal;
  const at::Tensor y = xinslm::embedding(weight, tokens);
  EXPECT_TRUE(y[0].isfinite().all().item<bool>());
  EXPECT_TRUE(y.narrow(0, 1, 2).isnan().all().item<bool>());
  y.sum().backward();
  EXPECT_TRUE(weight.grad().isfinite().all().item<bool>());
}
