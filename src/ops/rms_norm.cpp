#include "xinslm/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_kernels.h"
#include "ops/mps/launch.h"
#include "ops/mps/rms_norm.h"

namespace xinslm {
namespace {

using namespace cpu;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Normalized {
  at::Tensor y, inverse_rms;
};

/// x dense, gain float32.
Normalized normalize(const at::Tensor& x, const at::Tensor& gain, double eps) {
  if (mps::is_fast(x)) {
    const auto [y, inverse_rms] = mps::rms_norm(x, gain, eps);
    return {y, inverse_rms};
  }
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const Normalized out{at::empty(x.sizes(), x.options()), at::empty({rows}, x.options().dtype(at::kFloat))};
  const auto forward = rms_norm_kernels().forward[element_of(x)];
  for_parts(rows, count_parts(rows, rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    forward(row_at(x, begin, width), gain.const_data_ptr<float>(), eps, row_at(out.y, begin, width),
            out.inverse_rms.mutable_data_ptr<float>() + begin, end - begin, width);
  });
  return out;
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gain, double eps) {
    const at::Tensor dense = x.contiguous();
    const Normalized out = normalize(dense, gain.to(at::kFloat).contiguous(), eps);
    context->save_for_backward({dense, gain, out.inverse_rms});
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], gain = saved[1].to(at::kFloat).contiguous(), grad_y = grads[0].contiguous();
    if (mps::is_fast(x)) {
      const auto [grad_x, grad_gain] = mps::rms_norm_backward(x, gain, saved[2], grad_y);
      return {grad_x, grad_gain.to(saved[1].scalar_type()), {}};
    }
    const int64_t width = x.size(-1), rows = x.numel() / width, parts = count_parts(rows, rows_per_thread(width));
    const at::Tensor grad_x = at::empty(x.sizes(), x.options()), grad_gain = partial_sums(parts, width);
    const auto kernel = rms_norm_kernels().backward[element_of(x)];
    for_parts(rows, parts, [&](int64_t part, int64_t begin, int64_t end) {
      kernel(row_at(x, begin, width), gain.const_data_ptr<float>(), saved[2].const_data_ptr<float>() + begin,
             row_at(grad_y, begin, width), row_at(grad_x, begin, width),
             grad_gain.mutable_data_ptr<float>() + part * width, end - begin, width);
    });
    return {grad_x, add_parts(grad_gain).to(saved[1].scalar_type()), {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps) {
  require(x.dim() > 0 && gain.dim() == 1 && gain.size(0) == x.size(-1), "rms_norm: x is ", x.sizes(), ", gain ",
          gain.sizes(), "; their last sizes must agree");
  const bool fast = (cpu::is_fast(x) && cpu::is_fast(gain)) || (mps::is_fast(x) && mps::is_fast(gain));
  if (!fast || x.numel() == 0) return rms_norm_ref(x, gain, eps);
  if (at::GradMode::is_enabled() && (needs_gradient(x) || needs_gradient(gain))) {
    return RmsNormFunction::apply(x, gain, eps);
  }
  return normalize(x.contiguous(), gain.to(at::kFloat).contiguous(), eps).y;
}

}  // namespace xinslm
