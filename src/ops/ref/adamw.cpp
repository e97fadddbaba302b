#include "xinslm/ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "ops/ref/count.h"

namespace xinslm {

void adamw_step_ref(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& compute, const AdamWStep& step) {
  count_reference("adamw_step", master);
  const at::NoGradGuard no_grad;
  const at::Tensor g = gradient.to(master.scalar_type()) * step.gradient_scale;
  first.mul_(step.beta1).add_(g, 1 - step.beta1);
  second.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  const double correction1 = 1 - std::pow(step.beta1, double(step.step));
  const double correction2 = 1 - std::pow(step.beta2, double(step.step));
  master.mul_(1 - step.learning_rate * step.weight_decay);
  master.addcdiv_(first, (second / correction2).sqrt() + step.eps, -step.learning_rate / correction1);
  if (compute.defined()) compute.copy_(master);
}

}  // namespace xinslm
