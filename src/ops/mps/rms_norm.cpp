#include "ops/mps/rms_norm.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/mps/launch.h"

namespace xinslm::mps {
namespace {

/// A thread takes about four columns; whole simdgroups, 32 to 256 threads.
uint64_t threads_for(int64_t width) {
  return std::clamp<int64_t>((width / 4 + 31) / 32 * 32, 32, 256);
}

}  // namespace

std::pair<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps) {
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const at::Tensor y = at::empty(x.sizes(), x.options());
  const at::Tensor inverse_rms = at::empty({rows}, x.options().dtype(at::kFloat));
  const uint64_t threads = threads_for(width);
  Launch("rms_norm", std::string("rms_norm_forward_") + suffix(x))
      .tensor(x)
      .tensor(gain)
      .tensor(y)
      .tensor(inverse_rms)
      .integer(width)
      .real(eps)
      .run({rows * threads}, {threads});
  return {y, inverse_rms};
}

std::pair<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& x, const at::Tensor& gain,
                                                    const at::Tensor& inverse_rms, const at::Tensor& grad_y) {
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const at::Tensor grad_x = at::empty(x.sizes(), x.options());
  const uint64_t threads = threads_for(width);
  Launch("rms_norm", std::string("rms_norm_backward_") + suffix(x))
      .tensor(x)
      .tensor(gain)
      .tensor(inverse_rms)
      .tensor(grad_y)
      .tensor(grad_x)
      .integer(width)
      .run({rows * threads}, {threads});
  const int64_t stretch = std::max<int64_t>(32, (rows + 127) / 128), stretches = (rows + stretch - 1) / stretch;
  const at::Tensor partial = at::empty({stretches, width}, gain.options());
  Launch("rms_norm", std::string("rms_norm_gain_") + suffix(x))
      .tensor(x)
      .tensor(inverse_rms)
      .tensor(grad_y)
      .tensor(partial)
      .integer(rows)
      .integer(width)
      .integer(stretch)
      .run({uint64_t(width), uint64_t(stretches)}, {64, 1});
  return {grad_x, partial.sum(0)};
}

}  // namespace xinslm::mps
