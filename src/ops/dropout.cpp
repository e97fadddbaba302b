#include "xinslm/ops/dropout.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_kernels.h"
#include "ops/dropout_key.h"
#include "ops/mps/dropout.h"
#include "ops/mps/launch.h"

namespace xinslm {
namespace {

/// Row-major, whatever the strides of x.
at::Tensor drop(const at::Tensor& x, double p, uint64_t seed) {
  const DropoutKey key(p, seed);
  if (mps::is_fast(x)) return mps::dropout(x, key);
  const at::Tensor from = x.contiguous(), to = at::empty(x.sizes(), x.options());
  const auto apply = dropout_kernels().apply[cpu::element_of(x)];
  const int64_t size = from.numel();
  cpu::for_parts(size, cpu::count_parts(size, cpu::rows_per_thread(1)), [&](int64_t, int64_t begin, int64_t end) {
    apply(cpu::row_at(from, begin, 1), cpu::row_at(to, begin, 1), begin, end - begin, key.first, key.second,
          key.threshold, key.scale);
  });
  return to;
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, double p, int64_t seed) {
    context->saved_data["p"] = p;
    context->saved_data["seed"] = seed;
    return drop(x, p, static_cast<uint64_t>(seed));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto seed = static_cast<uint64_t>(context->saved_data["seed"].toInt());
    return {drop(grads[0], context->saved_data["p"].toDouble(), seed), {}, {}};
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, double p, uint64_t seed) {
  require(p >= 0 && p < 1, "dropout: probability ", p, " is outside [0, 1)");
  if (p == 0 || x.numel() == 0) return x;
  if (!mps::is_fast(x) && !cpu::is_fast(x)) return dropout_ref(x, p, seed);
  if (at::GradMode::is_enabled() && x.requires_grad()) {
    return DropoutFunction::apply(x, p, static_cast<int64_t>(seed));
  }
  return drop(x, p, seed);
}

}  // namespace xinslm
