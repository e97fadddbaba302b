#include "xinslm/quant/packed_tensor.h"

#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/custom_class.h>

#include <sstream>

#include "unit/quant/quant_test.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

using Sizes = std::vector<int64_t>;

c10::intrusive_ptr<Mxfp4Tensor> random_mxfp4(Sizes sizes, uint64_t seed) {
  sizes.back() /= 32;
  const at::Tensor scales = random_bytes(sizes, seed, 255);
  sizes.push_back(16);
  return Mxfp4Tensor::from_checkpoint(random_bytes(sizes, seed + 1), scales, "experts.weight");
}

c10::intrusive_ptr<Q8Tensor> random_q8(Sizes sizes, uint64_t seed) {
  const at::Tensor values = random_bytes(sizes, seed).view(at::kChar);
  sizes.back() /= 32;
  return Q8Tensor::from_checkpoint(values, normal(sizes, seed + 1).to(at::kHalf), "lm_head.weight");
}

/// The matrices of a tensor whose last `inner` dimensions are one matrix' own, on a single leading dimension.
at::Tensor matrices(const at::Tensor& x, int64_t inner) {
  Sizes sizes(x.sizes().end() - inner, x.sizes().end());
  sizes.insert(sizes.begin(), -1);
  return x.reshape(sizes);
}

bool is_aligned(const at::Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 64 == 0;
}

/// Differences between rows16 and where its description says each code is.
int64_t misplaced_codes(const Mxfp4Tensor& plain, const Mxfp4Tensor& packed) {
  const at::Tensor blocks = matrices(plain.values(), 3), lanes = matrices(packed.values(), 3);
  const auto from = blocks.accessor<uint8_t, 4>(), to = lanes.accessor<uint8_t, 4>();
  int64_t wrong = 0;
  for (int64_t m = 0; m < to.size(0); ++m) {
    for (int64_t row = 0; row < 16 * to.size(1); ++row) {
      for (int64_t column = 0; column < 32 * to.size(2); ++column) {
        const int64_t g = column / 32, c = column % 32, v = c / 8, b = c % 4;
        const int found = to[m][row / 16][g][64 * v + 4 * (row % 16) + b] >> (c % 8 < 4 ? 0 : 4) & 15;
        const int expected = row < from.size(1) ? from[m][row][g][c / 2] >> (c % 2 ? 4 : 0) & 15 : 0;
        wrong += found != expected;
      }
    }
  }
  return wrong;
}

int64_t misplaced_integers(const Q8Tensor& plain, const Q8Tensor& packed) {
  const at::Tensor rows = matrices(plain.values(), 2), lanes = matrices(packed.values(), 3);
  const auto from = rows.accessor<int8_t, 3>();
  const auto to = lanes.accessor<uint8_t, 4>();
  int64_t wrong = 0;
  for (int64_t m = 0; m < to.size(0); ++m) {
    for (int64_t row = 0; row < 16 * to.size(1); ++row) {
      for (int64_t column = 0; column < 32 * to.size(2); ++column) {
        const int64_t c = column % 32;
        const int found = to[m][row / 16][column / 32][c / 4 * 64 + 4 * (row % 16) + c % 4];
        wrong += found != (row < from.size(1) ? from[m][row][column] : 0) + 128;
      }
    }
  }
  return wrong;
}

/// Differences between the scales of the two layouts; those of rows that fill up are 0.
int64_t misplaced_scales(const PackedTensor& plain, const PackedTensor& packed) {
  const at::Tensor rows = matrices(plain.scales(), 2).to(at::kFloat);
  const at::Tensor lanes = matrices(packed.scales(), 3).to(at::kFloat).transpose(2, 3).flatten(1, 2);
  return lanes.slice(1, 0, rows.size(1)).ne(rows).sum().item<int64_t>() +
         lanes.slice(1, rows.size(1)).ne(0).sum().item<int64_t>();
}

template <class T>
void expect_same(const T& a, const T& b) {
  EXPECT_EQ(a.name(), b.name());
  EXPECT_EQ(a.layout(), b.layout());
  EXPECT_EQ(a.sizes(), b.sizes());
  EXPECT_TRUE(same_bytes(a.values(), b.values()));
  EXPECT_TRUE(same_bytes(a.scales(), b.scales()));
}

template <class T>
c10::intrusive_ptr<T> pickled_and_back(const c10::intrusive_ptr<T>& tensor) {
  const std::vector<char> bytes = torch::jit::pickle_save(c10::IValue(tensor));
  return torch::jit::pickle_load_obj({bytes.data(), bytes.size()}).toCustomClass<T>();
}

}  // namespace

TEST(Mxfp4Tensor, RepackingPutsCodesWhereTheLayoutSaysAndBack) {
  for (int64_t rows = 1; rows <= 67; ++rows) {
    for (const Sizes& sizes : {Sizes{rows, 32}, Sizes{rows, 160}, Sizes{3, rows, 64}, Sizes{2, 2, rows, 96}}) {
      const auto plain = random_mxfp4(sizes, rows);
      const auto packed = plain->repack(PackedLayout::rows16);
      ASSERT_EQ(misplaced_codes(*plain, *packed), 0) << at::IntArrayRef(sizes);
      ASSERT_EQ(misplaced_scales(*plain, *packed), 0) << at::IntArrayRef(sizes);
      ASSERT_TRUE(is_aligned(packed->values()) && is_aligned(packed->scales()));
      expect_same(*packed->repack(PackedLayout::checkpoint), *plain);
      ASSERT_EQ(packed->sizes(), sizes);
    }
  }
}

TEST(Mxfp4Tensor, KnowsItsBytesAndPrintsOneLine) {
  const auto plain = random_mxfp4({4, 17, 64}, 1);
  EXPECT_EQ(plain->bytes(), 4 * 17 * 2 * 17);
  const auto packed = plain->repack(PackedLayout::rows16);
  EXPECT_EQ(packed->bytes(), 4 * 32 * 2 * 17);
  std::ostringstream line;
  line << *packed;
  EXPECT_EQ(line.str(), "Mxfp4Tensor experts.weight [4, 17, 64], rows16, cpu, 4352 bytes");
}

TEST(Mxfp4Tensor, DecodesAlikeInBothLayouts) {
  const auto plain = random_mxfp4({3, 19, 96}, 2);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor expected = dequantize_mxfp4(plain->values(), plain->scales(), type);
    EXPECT_TRUE(same_bytes(plain->dequantize(type), expected));
    EXPECT_TRUE(same_bytes(plain->repack(PackedLayout::rows16)->dequantize(type), expected));
  }
}

TEST(Mxfp4Tensor, TakesUnalignedMemoryAndViews) {
  const auto plain = random_mxfp4({5, 64}, 3);
  std::vector<uint8_t> memory(plain->values().nbytes() + 1);
  std::memcpy(memory.data() + 1, plain->values().const_data_ptr(), plain->values().nbytes());
  const at::Tensor unaligned = at::from_blob(memory.data() + 1, plain->values().sizes(), at::kByte);
  const auto same = Mxfp4Tensor::from_checkpoint(unaligned, plain->scales(), plain->name());
  expect_same(*same->repack(PackedLayout::rows16), *plain->repack(PackedLayout::rows16));
  const at::Tensor turned = plain->values().transpose(0, 1).contiguous().transpose(0, 1);
  expect_same(*Mxfp4Tensor::from_checkpoint(turned, plain->scales(), plain->name()), *plain);
}

TEST(Mxfp4Tensor, MovesBetweenDevices) {
  const auto packed = random_mxfp4({2, 5, 64}, 4)->repack(PackedLayout::rows16);
  expect_same(*packed->to(at::kCPU), *packed);
  EXPECT_EQ(packed->to(at::Device(at::kMeta))->device().type(), at::kMeta);
}

TEST(Mxfp4Tensor, NanScalesAreErrorsWhenRepacked) {
  const auto plain = random_mxfp4({2, 5, 64}, 5);
  plain->scales()[1][3][1] = 255;
  EXPECT_TRUE(plain->dequantize(at::kFloat)[1][3].slice(0, 32).isnan().all().item<bool>());
  const std::string message = error_of(ErrorKind::data, [&] { plain->repack(PackedLayout::rows16); });
  expect_contains(message, "experts.weight");
  expect_contains(message, "[1, 3, 1]");
}

TEST(Mxfp4Tensor, WrongShapesAndTypesAreErrors) {
  const auto wrong = [](at::IntArrayRef blocks, at::IntArrayRef scales, at::ScalarType type) {
    return error_of(ErrorKind::data, [&] {
      Mxfp4Tensor::from_checkpoint(at::zeros(blocks, type), at::zeros(scales, at::kByte), "down_proj");
    });
  };
  expect_contains(wrong({4, 2, 15}, {4, 2}, at::kByte),
                  "down_proj: the values are Byte [4, 2, 15], expected Byte [4, 2, 16]");
  expect_contains(wrong({4, 2, 16}, {2, 4}, at::kByte), "down_proj: the scales are Byte [2, 4], expected Byte [4, 2]");
  expect_contains(wrong({4, 2, 16}, {4, 2}, at::kChar), "the values are Char [4, 2, 16], expected Byte [4, 2, 16]");
  expect_contains(wrong({2, 16}, {2}, at::kByte), "[2, 16], expected [..., rows, in / 32, 16]");
  expect_contains(wrong({4, 0, 16}, {4, 0}, at::kByte), "down_proj is [4, 0]");
  const at::Tensor none = at::zeros({0}, at::kByte);
  for (const Sizes& sizes : {Sizes{}, Sizes{32}, Sizes{3, 33}, Sizes{-1, 32}, Sizes{3, 32}}) {
    expect_contains(error_of(ErrorKind::data,
                             [&] {
                               Mxfp4Tensor({"down_proj", PackedLayout::rows16, sizes, none, none});
                             }),
                    "down_proj");
  }
}

TEST(Mxfp4Tensor, PicklesInBothLayouts) {
  for (const PackedLayout layout : {PackedLayout::checkpoint, PackedLayout::rows16}) {
    const auto tensor = random_mxfp4({3, 19, 64}, 6)->repack(layout);
    const auto again = pickled_and_back(tensor);
    expect_same(*again, *tensor);
    EXPECT_TRUE(layout == PackedLayout::checkpoint || is_aligned(again->values()));
  }
}

TEST(Mxfp4Tensor, PicklesAPartWithoutTheWhole) {
  const at::Tensor blocks = random_bytes({1000, 8, 1, 16}, 7), scales = random_bytes({1000, 8, 1}, 8, 255);
  const auto part = Mxfp4Tensor::from_checkpoint(blocks[500], scales[500], "one expert");
  EXPECT_LT(torch::jit::pickle_save(c10::IValue(part)).size(), 10000u);
  expect_same(*pickled_and_back(part), *part);
}

TEST(PackedTensor, IsAClassOfLibTorchWithMethods) {
  const auto type = torch::getCustomClass("__torch__.torch.classes.xinslm.Mxfp4Tensor");
  ASSERT_TRUE(type);
  EXPECT_TRUE(torch::getCustomClass("__torch__.torch.classes.xinslm.Q8Tensor"));
  const c10::IValue tensor(random_mxfp4({5, 64}, 9));
  const auto call = [&](const char* method, std::vector<c10::IValue> arguments) {
    arguments.insert(arguments.begin(), tensor);
    return type->getMethod(method)(arguments);
  };
  EXPECT_EQ(call("sizes", {}).toIntVector(), (Sizes{5, 64}));
  EXPECT_EQ(call("layout", {}).toStringRef(), "checkpoint");
  EXPECT_EQ(call("repack", {"rows16"}).toCustomClass<Mxfp4Tensor>()->layout(), PackedLayout::rows16);
  EXPECT_EQ(call("to", {at::Device(at::kCPU)}).toCustomClass<Mxfp4Tensor>()->bytes(), 5 * 34);
  EXPECT_EQ(call("dequantize", {static_cast<int64_t>(at::kFloat)}).toTensor().sizes(), at::IntArrayRef({5, 64}));
  EXPECT_EQ(call("__repr__", {}).toStringRef(), "Mxfp4Tensor experts.weight [5, 64], checkpoint, cpu, 170 bytes");
  expect_contains(error_of(ErrorKind::usage, [&] { call("repack", {"columns"}); }), "no layout columns");
}

TEST(Q8Tensor, RepackingPutsIntegersWhereTheLayoutSaysAndBack) {
  for (int64_t rows = 1; rows <= 67; ++rows) {
    for (const Sizes& sizes : {Sizes{rows, 32}, Sizes{rows, 160}, Sizes{3, rows, 64}}) {
      const auto plain = random_q8(sizes, rows);
      const auto packed = plain->repack(PackedLayout::rows16);
      ASSERT_EQ(misplaced_integers(*plain, *packed), 0) << at::IntArrayRef(sizes);
      ASSERT_EQ(misplaced_scales(*plain, *packed), 0) << at::IntArrayRef(sizes);
      ASSERT_TRUE(is_aligned(packed->values()) && is_aligned(packed->scales()));
      expect_same(*packed->repack(PackedLayout::checkpoint), *plain);
    }
  }
}

TEST(Q8Tensor, DecodesMovesPicklesAndPrints) {
  const auto plain = random_q8({17, 64}, 1);
  const auto packed = plain->repack(PackedLayout::rows16);
  const at::Tensor expected = dequantize_q8(plain->values(), plain->scales(), at::kFloat);
  EXPECT_TRUE(same_bytes(plain->dequantize(at::kFloat), expected));
  EXPECT_TRUE(same_bytes(packed->dequantize(at::kFloat), expected));
  expect_same(*packed->to(at::kCPU), *packed);
  expect_same(*pickled_and_back(packed), *packed);
  std::ostringstream line;
  line << *plain;
  EXPECT_EQ(line.str(), "Q8Tensor lm_head.weight [17, 64], checkpoint, cpu, 1156 bytes");
}

TEST(Q8Tensor, LooksRowsUpInEitherLayout) {
  const auto plain = random_q8({35, 96}, 7);
  const at::Tensor ids = at::tensor({34, 0, 17, 16, 16, 33}, at::kLong).view({2, 3});
  const at::Tensor expected = plain->dequantize(at::kFloat).index_select(0, ids.flatten()).view({2, 3, 96});
  EXPECT_TRUE(at::equal(plain->select_rows(ids, at::kFloat), expected));
  EXPECT_TRUE(at::equal(plain->repack(PackedLayout::rows16)->select_rows(ids, at::kFloat), expected));
}

TEST(Q8Tensor, WrongShapesAreErrors) {
  const auto wrong = [](at::IntArrayRef values, at::IntArrayRef scales) {
    return error_of(ErrorKind::data, [&] {
      Q8Tensor::from_checkpoint(at::zeros(values, at::kChar), at::zeros(scales, at::kHalf), "lm_head.weight");
    });
  };
  expect_contains(wrong({4, 64}, {4, 3}), "lm_head.weight: the scales are Half [4, 3], expected Half [4, 2]");
  expect_contains(wrong({4, 48}, {4, 1}), "lm_head.weight is [4, 48], expected [..., rows, in]");
}
