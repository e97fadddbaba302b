#include "xinslm/ops/attention.h"

#include <ATen/core/grad_mode.h>

#include <cmath>

#include "unit/ops/check.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Case {
  int64_t batch, heads, kv_heads, queries, keys, width, window;
  bool sinks, documents;
};

/// query, key, value, sinks, document ids
Tensors inputs_of(const Case& c) {
  Tensors inputs = {normal({c.batch, c.heads, c.queries, c.width}, 1),
                    normal({c.batch, c.kv_heads, c.keys, c.width}, 2),
                    normal({c.batch, c.kv_heads, c.keys, c.width}, 3),
                    {},
                    {}};
  if (c.sinks) inputs[3] = normal({c.heads}, 4);
  if (c.documents) {
    const at::Tensor position = at::arange(c.keys, at::TensorOptions().dtype(at::kLong));
    inputs[4] = (position.div(37, "floor") * 1000003).repeat({c.batch, 1});
    inputs[4][0].copy_(position.div(71, "floor"));
  }
  return inputs;
}

Operator fast(int64_t window) {
  return [=](const Tensors& t) { return attention(t[0], t[1], t[2], t[3], window, t[4]); };
}
Operator reference(int64_t window) {
  return [=](const Tensors& t) { return attention_ref(t[0], t[1], t[2], t[3], window, t[4]); };
}

void expect_case_matches(const Case& c) {
  SCOPED_TRACE(::testing::Message() << "T " << c.queries << " S " << c.keys << " D " << c.width << " window "
                                    << c.window << " sinks " << c.sinks << " documents " << c.documents);
  expect_matches(fast(c.window), reference(c.window), inputs_of(c), {3});
}

}  // namespace

TEST(Attention, MatchesReferenceInFullAttention) {
  expect_case_matches({2, 4, 2, 64, 64, 64, 0, false, false});
  expect_case_matches({1, 4, 2, 131, 131, 64, 0, true, false});
  expect_case_matches({1, 3, 1, 7, 7, 24, 0, true, false});
}

TEST(Attention, MatchesReferenceAtTheWindowsEdges) {
  expect_case_matches({1, 2, 1, 130, 130, 32, 1, true, false});
  expect_case_matches({1, 2, 2, 130, 130, 32, 63, false, false});
  expect_case_matches({1, 2, 1, 200, 200, 32, 64, true, false});
  expect_case_matches({1, 2, 1, 200, 200, 32, 128, true, false});
  expect_case_matches({1, 2, 1, 70, 70, 32, 500, true, false});
}

TEST(Attention, MatchesReferenceWithMoreKeysThanQueries) {
  expect_case_matches({2, 2, 1, 5, 140, 16, 0, true, false});
  expect_case_matches({1, 2, 1, 66, 131, 16, 30, true, false});
  expect_case_matches({1, 2, 1, 1, 97, 80, 0, true, false});
}

TEST(Attention, MatchesReferenceWithinDocuments) {
  expect_case_matches({2, 2, 1, 150, 150, 32, 0, true, true});
  expect_case_matches({2, 2, 1, 150, 150, 32, 50, false, true});
  expect_case_matches({2, 2, 1, 33, 150, 32, 0, true, true});
}

TEST(Attention, MatchesReferenceBeyondOneStripOfKeys) {
  const Tensors inputs = inputs_of({1, 1, 1, 20, 2300, 16, 0, true, false});
  expect_matches(fast(0), reference(0), inputs, {3});
}

TEST(Attention, DecodesAFewQueriesAsWellAsMany) {
  const at::NoGradGuard no_grad;
  const Isa before = active_isa();
  for (const bool documents : {false, true}) {
    for (const int64_t window : {0, 20}) {
      const Tensors t = inputs_of({2, 4, 2, 3, 150, 40, window, true, documents});
      const at::Tensor expected = attention_ref(t[0], t[1], t[2], t[3], window, t[4]);
      for (const Isa isa : supported_isas()) {
        set_active_isa(isa);
        EXPECT_LE(distance(attention(t[0], t[1], t[2], t[3], window, t[4]), expected), 2e-5) << isa_name(isa);
      }
    }
  }
  set_active_isa(before);
}

TEST(Attention, TakesViewsWithAnyStrides) {
  Tensors inputs = inputs_of({2, 4, 2, 40, 40, 16, 9, true, false});
  const at::Tensor expected = attention_ref(inputs[0], inputs[1], inputs[2], inputs[3], 9, {});
  for (size_t i = 0; i < 3; ++i) inputs[i] = inputs[i].transpose(1, 2).contiguous().transpose(1, 2);
  EXPECT_LE(distance(attention(inputs[0], inputs[1], inputs[2], inputs[3], 9, {}), expected), 2e-5);
  inputs[1] = inputs[1].transpose(2, 3).contiguous().transpose(2, 3);
  EXPECT_LE(distance(attention(inputs[0], inputs[1], inputs[2], inputs[3], 9, {}), expected), 2e-5);
}

TEST(Attention, StaysFiniteWithVeryLargeScores) {
  Tensors inputs = inputs_of({1, 2, 1, 100, 100, 32, 0, true, false});
  inputs[0] = inputs[0] * 100;
  inputs[1] = inputs[1] * 100;
  for (const at::Tensor& result : forward_and_backward(fast(0), inputs)) {
    EXPECT_TRUE(result.isfinite().all().item<bool>());
  }
  const at::NoGradGuard no_grad;
  const at::Tensor exact = reference(0)(
      {inputs[0].to(at::kDouble), inputs[1].to(at::kDouble), inputs[2].to(at::kDouble), inputs[3].to(at::kDouble), {}});
  EXPECT_LE(distance(fast(0)(inputs), exact), 5e-2);  // scores near 1e5 have an absolute error of 1e-2 in float32
}

TEST(Attention, LetsNotANumberThrough) {
  Tensors inputs = inputs_of({1, 2, 1, 70, 70, 32, 0, true, false});
  inputs[1][0][0][3][5] = std::nan("");
  EXPECT_TRUE(attention(inputs[0], inputs[1], inputs[2], inputs[3], 0, {}).isnan().any().item<bool>());
}

TEST(Attention, GradientMatchesFiniteDifferences) {
  expect_gradient_is_difference(fast(3), inputs_of({1, 2, 1, 6, 9, 4, 3, true, false}));
  expect_gradient_is_difference(fast(0), inputs_of({1, 2, 2, 6, 6, 4, 0, false, false}));
}

TEST(Attention, RejectsSizesThatDoNotFit) {
  const at::Tensor q = normal({1, 3, 4, 8}, 1), k = normal({1, 2, 4, 8}, 2);
  expect_usage_error([&] { attention(q, k, k, {}, 0, {}); }, "2 key heads do not divide 3 query heads");
  const at::Tensor few = normal({1, 3, 2, 8}, 2);
  expect_usage_error([&] { attention(q, few, few, {}, 0, {}); }, "4 queries but only 2 keys");
  const at::Tensor fits = normal({1, 1, 4, 8}, 2);
  expect_usage_error([&] { attention(q, fits, fits, normal({2}, 1), 0, {}); }, "expected one for each of 3");
  expect_usage_error([&] { attention(q, fits, fits, {}, -1, {}); }, "window is -1");
  expect_usage_error([&] { attention(q, fits, fits.to(at::kBFloat16), {}, 0, {}); }, "one type");
}
