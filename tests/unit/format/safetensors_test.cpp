#include "xinslm/format/safetensors.h"

#include <ATen/ATen.h>

#include "unit/format/temporary_folder.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/core/mapped_tensor.h"

using namespace xinslm;

namespace {

using Safetensors = TemporaryFolder;

at::Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [known, tensor] : tensors) {
    if (known == name) return tensor;
  }
  ADD_FAILURE() << name << " is missing";
  return {};
}

Json header_of(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  uint64_t length = 0;
  std::memcpy(&length, content.data(), 8);
  return Json::parse(content.substr(8, length));
}

TEST_F(Safetensors, EveryTypeComesBack) {
  NamedTensors tensors;
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf, at::kLong, at::kInt, at::kShort,
                                    at::kChar, at::kByte, at::kBool, at::kUInt16, at::kUInt32, at::kUInt64}) {
    tensors.emplace_back(c10::toString(type), at::arange(12).remainder(2).view({3, 4}).to(type));
  }
  write_safetensors(folder_ / "a.safetensors", tensors);
  const NamedTensors read = read_safetensors(folder_ / "a.safetensors");
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor other = find(read, name);
    EXPECT_EQ(other.scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(other.to(at::kLong), tensor.to(at::kLong))) << name;
  }
}

TEST_F(Safetensors, ScalarsEmptyAndStridedTensorsComeBack) {
  const at::Tensor strided = at::arange(6, at::kFloat).view({2, 3}).t();
  write_safetensors(folder_ / "a", {{"scalar", at::scalar_tensor(3.5)}, {"none", at::empty({0, 7})}, {"t", strided}});
  const NamedTensors read = read_safetensors(folder_ / "a");
  EXPECT_EQ(find(read, "scalar").dim(), 0);
  EXPECT_EQ(find(read, "scalar").item<float>(), 3.5F);
  EXPECT_EQ(find(read, "none").sizes(), at::IntArrayRef({0, 7}));
  EXPECT_TRUE(at::equal(find(read, "t"), strided));
}

TEST_F(Safetensors, DataStartsOnEightBytesAndTensorsOnTheirAlignment) {
  write_safetensors(folder_ / "a",
                    {{"x", at::ones({3}, at::kByte)}, {"y", at::ones({1}, at::kDouble)}, {"z", at::ones({3})}});
  const Json header = header_of(folder_ / "a");
  EXPECT_EQ(header["y"]["data_offsets"][0], 0);
  EXPECT_EQ(header["z"]["data_offsets"][0], 8);
  EXPECT_EQ(header["x"]["data_offsets"][0], 20);
  for (const auto& [name, tensor] : read_safetensors(folder_ / "a")) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % tensor.element_size(), 0U) << name;
  }
}

TEST_F(Safetensors, NothingIsCopiedAndTheMapOutlivesTheName) {
  write_safetensors(folder_ / "a", {{"x", at::full({1000}, 2.0F)}});
  at::Tensor x = find(read_safetensors(folder_ / "a"), "x");
  EXPECT_TRUE(is_mapped(x));
  std::filesystem::remove(folder_ / "a");
  EXPECT_EQ(x.sum().item<float>(), 2000.0F);
}

TEST_F(Safetensors, MetadataIsWritten) {
  write_safetensors(folder_ / "a", {{"x", at::ones({1})}}, {{"format", "pt"}});
  EXPECT_EQ(header_of(folder_ / "a")["__metadata__"]["format"], "pt");
}

TEST_F(Safetensors, WriterRefusesANameTwiceAndKeepsTheOldFile) {
  write_safetensors(folder_ / "a", {{"x", at::ones({1})}});
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"y", at::ones({1})}, {"y", at::ones({1})}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"y", at::Tensor()}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"y", at::ones({1}, at::kComplexDouble)}}), Error);
  EXPECT_EQ(read_safetensors(folder_ / "a").front().first, "x");
}

std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

struct BadHeader {
  const char* header;
  const char* says;  // part of the message
};

TEST_F(Safetensors, EveryInconsistencyIsAnErrorThatNamesTheFile) {
  const BadHeader cases[] = {
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "not valid JSON"},
      {R"([1,2])", "not a JSON object"},
      {R"({"x":[1]})", "tensor x is described by"},
      {R"({"x":{"shape":[2],"data_offsets":[0,8]}})", "tensor x has no dtype"},
      {R"({"x":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "tensor x has no dtype"},
      {R"({"x":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", "tensor x has dtype \"F33\""},
      {R"({"x":{"dtype":"F32","data_offsets":[0,8]}})", "tensor x has no list shape"},
      {R"({"x":{"dtype":"F32","shape":[2]}})", "tensor x has no list data_offsets"},
      {R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "has -2 in shape"},
      {R"({"x":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", "has 2.5 in shape"},
      {R"({"x":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", "in shape"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "has 1 data_offsets"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}})", "has 3 data_offsets"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "lies at bytes 8 to 0"},
      {R"({"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", "cut off"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}})", "lies at"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "of 4 bytes, but 8 bytes"},
      {R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "too large"},
      {R"({"x":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", "too large"},
      {R"({"x":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", "too large"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "overlap"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "leave a gap"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "there are 8 bytes"},
      {R"({})", "there are 8 bytes"},
      {R"({"x":{"dtype":"BOOL","shape":[8],"data_offsets":[0,8]}})", "other bytes than 0 and 1"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})",
       "tensor x is in the header twice"},
      {R"({"__metadata__":["pt"],"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "__metadata__"},
      {R"({"__metadata__":{"n":1},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "__metadata__ n"},
  };
  for (const BadHeader& bad : cases) {
    put("bad.safetensors", file_of(bad.header, "\x07\x07\x07\x07\x07\x07\x07\x07"));
    const std::string message = data_error_of([&] { read_safetensors(folder_ / "bad.safetensors"); });
    EXPECT_TRUE(contains(message, "bad.safetensors")) << message;
    EXPECT_TRUE(contains(message, bad.says)) << bad.header << "\n" << message;
  }
}

TEST_F(Safetensors, NonsenseLengthsAreErrors) {
  for (const std::string& content : {std::string(), std::string("1234567"), std::string(8, '\xff'), std::string(8, 'a'),
                                     std::string("\x7f\0\0\0\0\0\0\0{}", 10), std::string(64, '[')}) {
    put("bad", content);
    data_error_of([&] { read_safetensors(folder_ / "bad"); });
  }
}

TEST_F(Safetensors, DeepNestingIsAnError) {
  put("bad", file_of(std::string(200000, '['), ""));
  data_error_of([&] { read_safetensors(folder_ / "bad"); });
}

TEST_F(Safetensors, AFileCutAnywhereIsAnError) {
  write_safetensors(folder_ / "a", {{"x", at::ones({3})}, {"y", at::ones({2, 2}, at::kLong)}}, {{"format", "pt"}});
  const std::string whole = read_file(folder_ / "a");
  for (size_t length = 0; length < whole.size(); ++length) {
    put("cut", whole.substr(0, length));
    data_error_of([&] { read_safetensors(folder_ / "cut"); });
  }
}

TEST_F(Safetensors, AFlippedBitIsReadOrRefusedButNeverCrashes) {
  write_safetensors(folder_ / "a", {{"x", at::ones({3})}, {"y", at::ones({2, 2}, at::kLong)}}, {{"format", "pt"}});
  const std::string whole = read_file(folder_ / "a");
  for (size_t bit = 0; bit < 8 * whole.size(); bit += 3) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    put("flipped", flipped);
    try {
      for (const auto& [name, tensor] : read_safetensors(folder_ / "flipped")) tensor.to(at::kDouble).sum();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
    }
  }
}

}  // namespace
