#include "xinslm/ops/linear.h"

#include <ATen/ATen.h>

namespace xinslm {

at::Tensor linear_ref(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor y = at::matmul(x, weight.t());
  return bias.defined() ? (y + bias).to(x.scalar_type()) : y;
}

}  // namespace xinslm
