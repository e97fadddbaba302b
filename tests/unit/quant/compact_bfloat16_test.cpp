#include "xinslm/quant/compact_bfloat16.h"

#include <cmath>
#include <limits>

#include "unit/quant/quant_test.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

at::Tensor weights(at::IntArrayRef sizes, uint64_t seed) {
  return (normal(sizes, seed) * 0.02).to(at::kBFloat16);
}

}  // namespace

TEST(CompactBfloat16, GivesEveryBitAgain) {
  for (const auto& [rows, width] : std::vector<std::pair<int64_t, int64_t>>{{1, 64}, {3, 63}, {16, 128}, {70, 250}}) {
    SCOPED_TRACE(::testing::Message() << rows << " x " << width);
    const at::Tensor matrix = weights({rows, width}, 3);
    CompactBfloat16 compact;
    EXPECT_TRUE(compact.empty());
    ASSERT_TRUE(compact.fill(matrix));
    EXPECT_FALSE(compact.empty());
    EXPECT_TRUE(same_bytes(compact.restore(), matrix));
  }
}

TEST(CompactBfloat16, GivesEveryBitAgainOfAnyMagnitude) {
  for (int decade = -36; decade <= 36; decade += 3) {
    SCOPED_TRACE(::testing::Message() << "1e" << decade);
    const at::Tensor matrix = (normal({40, 250}, 8) * std::pow(10.0, decade)).to(at::kBFloat16);
    CompactBfloat16 compact;
    ASSERT_TRUE(compact.fill(matrix));
    EXPECT_TRUE(same_bytes(compact.restore(), matrix));
  }
  // Rows of twelve orders of magnitude have too many exponents for a table of sixteen.
  const at::Tensor wide = (normal({13, 256}, 9) * at::arange(-6, 7, at::kDouble).unsqueeze(1).mul(std::log(10)).exp());
  EXPECT_FALSE(CompactBfloat16().fill(wide.to(at::kBFloat16)));
}

TEST(CompactBfloat16, CountsWhatIsRareInEveryRow) {
  at::Tensor matrix = weights({4 << 10, 4 << 10}, 10);  // so large that every fourth row is looked at for the table
  for (const int64_t row : {1, 2, 3}) matrix.slice(0, row, c10::nullopt, 4).mul_(1e20);
  CompactBfloat16 compact;
  EXPECT_FALSE(compact.fill(matrix));
  EXPECT_TRUE(compact.empty());
}

TEST(CompactBfloat16, ListsWhatIsRareApart) {
  at::Tensor matrix = weights({40, 250}, 4);
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special{infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), 0.0f, -0.0f,
                                   1e30f,    -3e-39f};
  for (size_t i = 0; i < special.size(); ++i) matrix[7][static_cast<int64_t>(20 * i)] = special[i];
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill(matrix));
  EXPECT_TRUE(same_bytes(compact.restore(), matrix));
  ASSERT_FALSE(compact.rare(7, 8).empty());
  int64_t before = -1;
  for (const auto& [row, column, value] : compact.rare(7, 8)) {
    EXPECT_EQ(row, 7);
    EXPECT_GT(column, before);
    EXPECT_TRUE(same_bytes(at::full({}, value).to(at::kBFloat16), matrix[7][column]));
    before = column;
  }
}

TEST(CompactBfloat16, TakesThreeQuartersOfTheMemory) {
  const at::Tensor matrix = weights({512, 768}, 5);
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill(matrix));
  EXPECT_NEAR(static_cast<double>(compact.bytes()) / static_cast<double>(matrix.nbytes()), 0.75, 0.01);
}

TEST(CompactBfloat16, LooksRowsUp) {
  const at::Tensor matrix = weights({50, 122}, 6), ids = at::tensor({49, 0, 7, 7}, at::kLong).view({2, 2});
  CompactBfloat16 compact;
  ASSERT_TRUE(compact.fill(matrix));
  EXPECT_TRUE(same_bytes(compact.select_rows(ids), matrix.index({ids})));
}

TEST(CompactBfloat16, StaysEmptyWhereItWouldNotPay) {
  CompactBfloat16 compact;
  for (const at::Tensor& matrix : {random_bytes({64, 2 * 64}, 1).view(at::kBFloat16), weights({64, 70}, 2)}) {
    EXPECT_FALSE(compact.fill(matrix));
    EXPECT_TRUE(compact.empty());
  }
}

TEST(CompactBfloat16, TakesBfloat16MatricesOnly) {
  CompactBfloat16 compact;
  for (const at::Tensor& wrong : {normal({3, 4}, 1), normal({3, 4, 5}, 1).to(at::kBFloat16)}) {
    expect_contains(error_of(ErrorKind::usage, [&] { compact.fill(wrong); }), "[rows, in] bfloat16");
  }
}
