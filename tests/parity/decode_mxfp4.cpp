// Test helper: decodes MXFP4 bytes from standard input, blocks and then scales, to numbers on standard output.
#include <ATen/ATen.h>

#include <cstdio>
#include <string>

#include "xinslm/core/error.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {
namespace {

at::Tensor read_bytes(at::IntArrayRef sizes) {
  at::Tensor bytes = at::empty(sizes, at::kByte);
  if (std::fread(bytes.mutable_data_ptr(), 1, bytes.nbytes(), stdin) != bytes.nbytes()) {
    data_error("standard input ends before ", sizes, " bytes");
  }
  return bytes;
}

int run(int argc, char** argv) {
  if (argc != 6) usage_error("usage: decode_mxfp4 checkpoint|rows16 float32|bfloat16 MATRICES ROWS BLOCKS");
  const PackedLayout layout = layout_of_name(argv[1]);
  const at::ScalarType type = argv[2] == std::string("bfloat16") ? at::kBFloat16 : at::kFloat;
  const int64_t matrices = std::stoll(argv[3]), rows = std::stoll(argv[4]), blocks = std::stoll(argv[5]);
  const at::Tensor bytes = read_bytes({matrices, rows, blocks, 16}), scales = read_bytes({matrices, rows, blocks});
  const auto packed = Mxfp4Tensor::from_checkpoint(bytes, scales, "standard input")->repack(layout);
  const at::Tensor values = packed->dequantize(type);
  return std::fwrite(values.const_data_ptr(), 1, values.nbytes(), stdout) == values.nbytes() ? 0 : 1;
}

}  // namespace
}  // namespace xinslm

int main(int argc, char** argv) {
  try {
    return xinslm::run(argc, argv);
  } catch (const xinslm::Error& problem) {
    std::fprintf(stderr, "decode_mxfp4: %s\n", problem.what());
    return problem.exit_code();
  }
}
