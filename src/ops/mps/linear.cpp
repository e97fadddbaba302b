#include "ops/mps/linear.h"

#include <ATen/ATen.h>

#include "ops/mps/launch.h"

namespace xinslm::mps {
namespace {

/// Whether four numbers at once can be read from its start. On MPS a data pointer is that of the buffer's object, which
/// is aligned as the buffer is, plus the offset.
bool begins_at_four(const at::Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % (4 * x.element_size()) == 0;
}

at::Tensor few_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), in = weight.size(1), out = weight.size(0);
  const at::Tensor y = at::empty({rows, out}, x.options());
  constexpr uint64_t simdgroup = 32;
  Launch("linear", std::string("linear_few_rows_") + suffix(x))
      .tensor(x)
      .tensor(weight)
      .tensor(bias.defined() ? bias : weight)
      .tensor(y)
      .integer(in)
      .integer(out)
      .integer(rows)
      .integer(bias.defined())
      .integer(in % 4 == 0 && begins_at_four(x) && begins_at_four(weight))
      .run({out * simdgroup}, {4 * simdgroup});
  return y;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  constexpr int64_t most_few_rows = 4;
  if (x.size(0) <= most_few_rows) return few_rows(x, weight, bias);
  const at::Tensor y = at::mm(x, weight.t());
  if (bias.defined()) {
    Launch("linear", std::string("add_bias_") + suffix(y))
        .tensor(y)
        .tensor(bias)
        .run({static_cast<uint64_t>(y.size(1)), static_cast<uint64_t>(y.size(0))}, {64, 4});
  }
  return y;
}

at::Tensor transposed_product(const at::Tensor& left, const at::Tensor& right) {
  return at::mm(left.t().contiguous(), right.contiguous());
}

}  // namespace xinslm::mps
