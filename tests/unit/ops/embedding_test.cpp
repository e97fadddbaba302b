#include "xinslm/ops/embedding.h"

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

TEST(Embedding, MatchesReferenceWithRepeatedTokens) {
  const at::Tensor tokens = at::arange(600, at::TensorOptions().dtype(at::kLong)).mul(31).remainder(23).view({3, 200});
  expect_matches([&](const Tensors& t) { return xinslm::embedding(t[0], tokens); },
                 [&](const Tensors& t) { return embedding_ref(t[0], tokens); }, {normal({30, 19}, 1)});
}

TEST(Embedding, RejectsTokensOutsideTheVocabulary) {
  const at::Tensor weight = normal({5, 4}, 1);
  expect_usage_error(
      [&] {
        xinslm::embedding(weight, at::tensor({int64_t{1}, int64_t{5}}));
      },
      "token 5 is outside the vocabulary of 5");
  expect_usage_error([&] { xinslm::embedding(weight, at::tensor({int64_t{-1}})); }, "token -1");
  expect_usage_error([&] { xinslm::embedding(weight, at::tensor({1.0f})); }, "expected int64");
}
