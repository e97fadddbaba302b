#include "ops/mps/rotary.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/mps/launch.h"

namespace xinslm::mps {
namespace {

at::Tensor tokens_before_heads(const at::Tensor& x) {
  const int64_t heads = x.size(1), tokens = x.size(2), width = x.size(3);
  return at::empty_strided(x.sizes(), {tokens * heads * width, width, heads * width, 1}, x.options());
}

}  // namespace

at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int sign) {
  const uint64_t batch = x.size(0), heads = x.size(1), tokens = x.size(2), half = x.size(3) / 2;
  const at::Tensor y = tokens_before_heads(x);
  const uint64_t width = std::min<uint64_t>(half, 32);
  Launch("rotary", std::string("rotary_turn_") + suffix(x))
      .tensor(x)
      .tensor(cos)
      .tensor(sin)
      .tensor(y)
      .integer(x.stride(0))
      .integer(x.stride(1))
      .integer(x.stride(2))
      .integer(tokens)
      .integer(sign)
      .run({half, heads, batch * tokens}, {width, std::min<uint64_t>(heads, 8), 1});
  return y;
}

at::Tensor rms_norm_rotary(const at::Tensor& x, const at::Tensor& gain, double eps, const at::Tensor& cos,
                           const at::Tensor& sin) {
  const uint64_t batch = x.size(0), heads = x.size(1), tokens = x.size(2);
  const at::Tensor y = tokens_before_heads(x);
  Launch("rotary", std::string("rms_norm_rotary_") + suffix(x))
      .tensor(x)
      .tensor(gain)
      .tensor(cos)
      .tensor(sin)
      .tensor(y)
      .integer(x.stride(0))
      .integer(x.stride(1))
      .integer(x.stride(2))
      .integer(tokens)
      .integer(x.size(3) / 2)
      .real(eps)
      .run({32, heads, batch * tokens}, {32, std::min<uint64_t>(heads, 8), 1});
  return y;
}

}  // namespace xinslm::mps
