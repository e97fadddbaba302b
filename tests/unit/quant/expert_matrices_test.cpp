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

TEST(ExpertMatrices, LayOutEachExpertAsRepackingDoes) {
  const auto source = random_matrices(3, 35, 96);
  const auto whole = source->repack(PackedLayout::rows16);
  ExpertMatrices matrices(source);
  EXPECT_EQ(matrices.groups(), 3);
  for (const int64_t expert : {2, 0}) {
    EXPECT_FALSE(matrices.ready(expert));
    matrices.prepare(expert);
    EXPECT_TRUE(matrices.ready(expert));
    EXPECT_TRUE(at::equal(matrices.rows16().values()[expert], whole->values()[expert]));
    EXPECT_TRUE(at::equal(matrices.rows16().scales()[expert], whole->scales()[expert]));
  }
  EXPECT_FALSE(matrices.ready(1));
  matrices.lay_out(1, 0, 1);
  matrices.lay_out(1, 1, 1);  // a thread's share may be empty
  matrices.lay_out(1, 1, 3);
  matrices.set_ready(1);
  EXPECT_TRUE(at::equal(matrices.rows16().values(), whole->values()));
  EXPECT_TRUE(at::equal(matrices.source().dequantize(at::kFloat), whole->dequantize(at::kFloat)));
}

TEST(ExpertMatrices, AreDueAfterAFewUsesUntilTheyAreReady) {
  ExpertMatrices matrices(random_matrices(2, 16, 32));
  EXPECT_FALSE(matrices.due(1));
  for (int use = 0; use < 100; ++use) matrices.count_use(1);
  EXPECT_TRUE(matrices.due(1));
  EXPECT_FALSE(matrices.due(0));
  matrices.prepare(1);
  EXPECT_FALSE(matrices.due(1));
}

TEST(ExpertMatrices, TakeWhatIsLaidOutAlreadyAsItIs) {
  ExpertMatrices matrices(random_matrices(2, 16, 32)->repack(PackedLayout::rows16));
  EXPECT_TRUE(matrices.ready(0));
  EXPECT_TRUE(matrices.ready(1));
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
