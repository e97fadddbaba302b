#include "xinslm/quant/expert_matrices.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "xinslm/core/error.h"

using namespace xinslm;

namespace {

/// Scales from 100 to `most`.
c10::intrusive_ptr<Mxfp4Tensor> random_matrices(int64_t experts, int64_t rows, int64_t in, int64_t most = 139) {
  at::manual_seed(7);
  const at::Tensor blocks = at::randint(256, {experts, rows, in / 32, 16}, at::kByte);
  const at::Tensor scales = at::randint(100, most + 1, {experts, rows, in / 32}, at::kByte);
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
  EXPECT_FALSE(matrices.rows16().scales_in_halves());
  EXPECT_TRUE(at::equal(matrices.rows16().scales(), whole->scales()));
  EXPECT_TRUE(at::equal(matrices.source().dequantize(at::kFloat), whole->dequantize(at::kFloat)));
}

/// Scales of layout rows16 out of halves of bytes, the plain way.
at::Tensor whole_scales(const LaidOutExperts& laid_out, int64_t blocks) {
  const at::Tensor halves = laid_out.scales();
  const at::Tensor pairs = at::stack({halves.bitwise_and(15), halves.div(16, "floor")}, 3);  // [E, groups, .., 2, 16]
  return pairs.flatten(2, 3).narrow(2, 0, blocks).add(laid_out.least_scale());
}

TEST(LaidOutExperts, HaveHalvesOfBytesForScalesThatDifferLittle) {
  for (const int64_t blocks : {1, 2, 3, 6}) {
    const auto source = random_matrices(3, 32, 32 * blocks, 115);
    const LaidOutExperts laid_out(*source);
    const auto whole = source->repack(PackedLayout::rows16);
    ASSERT_TRUE(laid_out.scales_in_halves());
    EXPECT_TRUE(at::equal(laid_out.values(), whole->values()));
    EXPECT_TRUE(at::equal(whole_scales(laid_out, blocks), whole->scales()));
    EXPECT_EQ(laid_out.bytes(), 3 * 2 * (256 * blocks + 16 * ((blocks + 1) / 2)));
    const int64_t group = 512 * blocks / 2;  // bytes
    EXPECT_EQ(laid_out.values(2, 1), static_cast<const uint8_t*>(laid_out.values().const_data_ptr()) + 5 * group);
    EXPECT_EQ(laid_out.scales(2, 1),
              static_cast<const uint8_t*>(laid_out.scales().const_data_ptr()) + 5 * ((blocks + 1) / 2) * 16);
  }
}

TEST(LaidOutExperts, BlocksOfZerosMayHaveAnyScale) {
  const auto source = random_matrices(2, 35, 96, 115);
  source->scales()[1][7][2] = 0;
  EXPECT_FALSE(LaidOutExperts(*source).scales_in_halves());
  source->values()[1][7][2] = 0x80;  // zeros of either sign
  const LaidOutExperts laid_out(*source);
  ASSERT_TRUE(laid_out.scales_in_halves());
  EXPECT_EQ(laid_out.least_scale(), 100);
  source->scales()[1][7][2] = 100;
  const at::Tensor expected = source->repack(PackedLayout::rows16)->scales();
  const at::Tensor there = expected.ne(0);  // no rows that fill up
  EXPECT_TRUE(at::equal(whole_scales(laid_out, 3).masked_select(there), expected.masked_select(there)));
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
