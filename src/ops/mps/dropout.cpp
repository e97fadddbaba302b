#include "ops/mps/dropout.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/mps/launch.h"

namespace xinslm::mps {

at::Tensor dropout(const at::Tensor& x, const DropoutKey& key) {
  const at::Tensor from = x.contiguous(), to = at::empty(x.sizes(), x.options());
  for (int64_t begin = 0; begin < x.numel(); begin += largest_grid) {
    const int64_t count = std::min(largest_grid, x.numel() - begin);
    Launch("dropout", std::string("dropout_") + suffix(x))
        .tensor(from.view(-1).narrow(0, begin, count))
        .tensor(to.view(-1).narrow(0, begin, count))
        .integer(begin)
        .integer(key.first)
        .integer(key.second)
        .integer(key.threshold)
        .real(key.scale)
        .run({static_cast<uint64_t>(count)}, {256});
  }
  return to;
}

}  // namespace xinslm::mps
