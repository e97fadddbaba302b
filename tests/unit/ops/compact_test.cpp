#include "xinslm/ops/compact.h"

#include <cmath>

#include "ops/cpu/compact.h"
#include "unit/ops/check.h"
#include "xinslm/core/cpu_features.h"
#include "xinslm/core/error.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

/// With some numbers that have no code.
at::Tensor weights(int64_t rows, int64_t width) {
  at::Tensor matrix = (normal({rows, width}, 2) * 0.02).to(at::kBFloat16);
  for (int64_t row = 0; row < rows; row += 5) matrix[row][row % width] = 1e20;
  return matrix;
}

}  // namespace

TEST(CompactLinear, GivesWhatLinearGives) {
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const auto& [rows, width] : std::vector<std::pair<int64_t, int64_t>>{{4, 600}, {35, 245}, {400, 192}}) {
      CompactBfloat16 compact;
      ASSERT_TRUE(compact.fill(weights(rows, width)));
      for (const int64_t count : {1, 3, 8, 9, 40}) {
        SCOPED_TRACE(::testing::Message() << isa_name(isa) << ", " << count << " x " << width << " to " << rows);
        const at::Tensor x = normal({count, width}, 1).to(at::kBFloat16), bias = normal({rows}, 3);
        for (const at::Tensor& shift : {at::Tensor(), bias}) {
          const at::Tensor found = compact_linear(x, compact, shift), expected = compact_linear_ref(x, compact, shift);
          EXPECT_EQ(found.scalar_type(), at::kBFloat16);
          EXPECT_TRUE(at::allclose(found.to(at::kFloat), expected.to(at::kFloat), 1e-2, 1e-2));
        }
      }
    }
  }
  set_active_isa(before);
}

TEST(CompactLinear, IsAsExactForEveryMagnitude) {
  const Isa before = active_isa();
  const at::Tensor x = normal({180}, 1), weight = normal({24, 180}, 2);
  for (int decade = -36; decade <= 36; decade += 6) {
    CompactBfloat16 compact;
    ASSERT_TRUE(compact.fill((weight * std::pow(10.0, decade)).to(at::kBFloat16)));
    const at::Tensor padded = at::constant_pad_nd(x, {0, compact.blocks() * CompactBfloat16::block - 180});
    const at::Tensor expected = compact.restore().to(at::kDouble).mv(x.to(at::kDouble));
    for (const Isa isa : supported_isas()) {
      set_active_isa(isa);
      std::vector<float> found(24);
      cpu::multiply_rows(compact, 0, 24, padded.const_data_ptr<float>(), found.data());
      const at::Tensor error = (at::tensor(found, at::kDouble) - expected).abs().max() / expected.abs().max();
      EXPECT_LT(error.item<double>(), 1e-5) << isa_name(isa) << ", 1e" << decade;
    }
  }
  set_active_isa(before);
}

TEST(CompactLinear, ManyRowsAtOnceGiveWhatSingleRowsGive) {
  const Isa before = active_isa();
  const int64_t rows = 131, width = 300;  // enough to be read from two places at once, and one row left
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill(weights(rows, width)));
  const at::Tensor x = at::constant_pad_nd(normal({width}, 1), {0, compact.blocks() * CompactBfloat16::block - width});
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    set_active_isa(isa);
    std::vector<float> all(rows), single(rows);
    cpu::multiply_rows(compact, 0, rows, x.const_data_ptr<float>(), all.data());
    for (int64_t row = 0; row < rows; ++row) {
      cpu::multiply_rows(compact, row, row + 1, x.const_data_ptr<float>(), single.data());
    }
    EXPECT_EQ(all, single);
    const at::Tensor expected = compact.restore().to(at::kDouble).mv(x.narrow(0, 0, width).to(at::kDouble));
    EXPECT_LT(distance(at::tensor(all), expected), 1e-5);
  }
  set_active_isa(before);
}

TEST(CompactLinear, BringsLargeMatricesBackInParts) {
  const at::Tensor matrix = (normal({9000, 1024}, 2) * 0.02).to(at::kBFloat16);
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill(matrix));
  const at::Tensor x = normal({2, 5, 1024}, 1).to(at::kBFloat16);
  EXPECT_TRUE(at::allclose(compact_linear(x, compact, {}).to(at::kFloat), at::matmul(x, matrix.t()).to(at::kFloat),
                           1e-2, 1e-2));
}

TEST(CompactLinear, HasTheGradientOfX) {
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill((normal({20, 64}, 2) * 0.02).to(at::kBFloat16)));
  const at::Tensor grad = normal({3, 20}, 3).to(at::kBFloat16);
  at::Tensor x = normal({3, 64}, 1).to(at::kBFloat16).requires_grad_(true);
  compact_linear(x, compact, {}).backward(grad);
  EXPECT_TRUE(at::allclose(x.grad().to(at::kFloat), grad.mm(compact.restore()).to(at::kFloat), 1e-2, 1e-3));
}

TEST(CompactLinear, RefusesWhatDoesNotFit) {
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill((normal({20, 64}, 2) * 0.02).to(at::kBFloat16)));
  EXPECT_THROW(compact_linear(normal({3, 63}, 1).to(at::kBFloat16), compact, {}), Error);
  EXPECT_THROW(compact_linear(normal({3, 64}, 1), compact, {}), Error);
  EXPECT_THROW(compact_linear(normal({3, 64}, 1).to(at::kBFloat16), compact, normal({19}, 1)), Error);
}
