#include "xinslm/quant/expert_matrices.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

c10::intrusive_ptr<Mxfp4Tensor> random_matrices(int64_t experts, int64_t rows, int64_t in) {
  at::manual_seed(7);
  const at::Tensor blocks = at::randint(256, {experts, rows, in / 32, 16}, at::kByte);
  const at::Tensor scales = at::randint(100, 140, {experts, rows, in / 32}, at::kByte);
  return Mxfp4Tensor::from_checkpoint(blocks, scales, "experts.weight");
}

TEST(ExpertMatrices, AreLaidOutAfterAFewUses) {
  const auto source = random_matrices(3, 35, 96);
  const auto whole = source->repack(PackedLayout::rows16);
  ExpertMatrices matrices(source);
  EXPECT_FALSE(matrices.lay_out_if_due());
  EXPECT_FALSE(matrices.laid_out());
  matrices.count_uses(3 * 100);
  EXPECT_TRUE(matrices.lay_out_if_due());
  EXPECT_TRUE(matrices.laid_out());
  EXPECT_FALSE(matrices.lay_out_if_due());
  EXPECT_TRUE(at::equal(matrices.rows16().values(), whole->values()));
  EXPECT_TRUE(at::equal(matrices.rows16().scales(), whole->scales()));
  EXPECT_TRUE(at::equal(matrices.source().dequantize(at::kFloat), whole->dequantize(at::kFloat)));
}

TEST(ExpertMatrices, TakeWhatIsLaidOutAlreadyAsItIs) {
  ExpertMatrices matrices(random_matrices(2, 16, 32)->repack(PackedLayout::rows16));
  EXPECT_TRUE(matrices.laid_out());
}

TEST(ExpertMatrices, RejectNanScalesAndOtherShapes) {
  const auto good = random_matrices(2, 16, 32);
  const at::Tensor scales = good->scales().clone();
  scales[1][5][0] = 255;
  EXPECT_THROW(ExpertMatrices(Mxfp4Tensor::from_checkpoint(good->values(), scales, "experts.weight")), Error);
  const at::Tensor values = good->values()[0];
  EXPECT_THROW(ExpertMatrices(Mxfp4Tensor::from_checkpoint(values, good->scales()[0], "experts.weight")), Error);
}

}  // namespace
