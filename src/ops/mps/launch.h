#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace xinslm::mps {

/// Whether Metal kernels take x: float32, float16 or bfloat16 on Apple's GPU. False in builds without Metal.
bool is_fast(const at::Tensor& x);

/// "float", "half" or "bfloat": how kernels for the type of x end.
inline const char* suffix(const at::Tensor& x) {
  if (x.scalar_type() == at::kFloat) return "float";
  return x.scalar_type() == at::kHalf ? "half" : "bfloat";
}

/// Threads along a side of one launch at most: a kernel sees its place as a 32-bit number. Larger tensors take several.
constexpr int64_t largest_grid = int64_t{1} << 30;

struct Size3 {
  uint64_t x = 1, y = 1, z = 1;
};

/// One launch of a Metal kernel, put into the queue of LibTorch's MPS device behind what is there already. Arguments
/// take buffer indices 0, 1, 2 ... in the order given.
class Launch {
 public:
  /// @param library  name of a file src/ops/mps/NAME.metal
  /// @throws Error(runtime) naming both when the library does not compile or has no such kernel
  Launch(std::string_view library, const std::string& kernel);

  Launch& tensor(const at::Tensor& x);  ///< its data from the storage offset on; strides are the caller's business
  Launch& integer(int64_t value);       ///< the kernel sees `constant long&`
  Launch& real(double value);           ///< the kernel sees the bits of a float: real(x) of common.metal
  /// @param threads  the whole grid in threads; the last groups may be smaller
  /// @param group    a threadgroup, at most 1024 threads
  void run(Size3 threads, Size3 group);

 private:
  std::string name_;                           ///< library/kernel, for messages
  [[maybe_unused]] void* function_ = nullptr;  // without Metal there is none
  std::vector<std::variant<at::Tensor, int64_t>> arguments_;
};

}  // namespace xinslm::mps
