#include "xinslm/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/product.h"
#include "ops/cpu/row_kernels.h"
#include "ops/mps/launch.h"
#include "ops/mps/linear.h"

namespace xinslm {
namespace {

using namespace cpu;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// [N, In] -> [N, Out], dense, the bias added in float32.
at::Tensor affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor shift = bias.defined() ? bias.to(at::kFloat).contiguous() : bias;
  if (mps::is_fast(x)) return mps::linear(x, weight.contiguous(), shift);
  const at::Tensor y = product(x, weight.t());
  if (!bias.defined()) return y;
  const int64_t rows = y.size(0), width = y.size(1);
  const auto add_bias = row_kernels().add_bias[element_of(y)];
  for_parts(rows, count_parts(rows, rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    add_bias(row_at(y, begin, width), shift.const_data_ptr<float>(), end - begin, width);
  });
  return y;
}

/// Sum of the rows in float32: [width].
at::Tensor sum_of_rows(const at::Tensor& x) {
  if (mps::is_fast(x)) return x.sum(0, /*keepdim=*/false, at::kFloat);
  const int64_t rows = x.size(0), width = x.size(1), parts = count_parts(rows, rows_per_thread(width));
  const at::Tensor sums = partial_sums(parts, width);
  const auto add_columns = row_kernels().add_columns[element_of(x)];
  for_parts(rows, parts, [&](int64_t part, int64_t begin, int64_t end) {
    add_columns(row_at(x, begin, width), end - begin, width, sums.mutable_data_ptr<float>() + part * width);
  });
  return add_parts(sums);
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    const at::Tensor shift = tensor_of(bias);
    context->save_for_backward({x, weight});
    context->saved_data["wants"] = std::vector<bool>{x.requires_grad(), weight.requires_grad(), needs_gradient(shift)};
    if (shift.defined()) context->saved_data["bias_type"] = shift.scalar_type();
    return affine(x, weight, shift);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto wants = context->saved_data["wants"].toBoolList();
    const at::Tensor grad = grads[0].contiguous();
    variable_list result(3);
    const bool on_gpu = mps::is_fast(grad);
    if (wants[0]) result[0] = on_gpu ? at::mm(grad, saved[1].contiguous()) : product(grad, saved[1]);
    if (wants[1]) result[1] = on_gpu ? mps::transposed_product(grad, saved[0]) : product(grad.t(), saved[0]);
    if (wants[2]) result[2] = sum_of_rows(grad).to(context->saved_data["bias_type"].toScalarType());
    return result;
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  require(x.dim() > 0 && weight.dim() == 2 && weight.size(1) == x.size(-1), "linear: x is ", x.sizes(), ", weight ",
          weight.sizes(), "; the last sizes must agree");
  require(x.scalar_type() == weight.scalar_type(), "linear: x is ", x.scalar_type(), ", weight ", weight.scalar_type(),
          "; they must have one type");
  require(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)), "linear: weight is ", weight.sizes(),
          ", bias ", bias.defined() ? bias.sizes() : at::IntArrayRef{}, "; expected one for each row");
  const bool fast = mps::is_fast(x) ? !bias.defined() || mps::is_fast(bias)
                                    : cpu::is_fast(x) && (!bias.defined() || cpu::is_fast(bias));
  if (!fast || x.numel() == 0) return linear_ref(x, weight, bias);
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).contiguous();
  const bool needs = needs_gradient(x) || needs_gradient(weight) || needs_gradient(bias);
  const at::Tensor y = at::GradMode::is_enabled() && needs ? LinearFunction::apply(rows, weight, optional_of(bias))
                                                           : affine(rows, weight, bias);
  return y.view(sizes);
}

}  // namespace xinslm
