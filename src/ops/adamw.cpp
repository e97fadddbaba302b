#include "xinslm/ops/adamw.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/training_kernels.h"

namespace xinslm {
namespace {

using namespace cpu;

AdamWFactors factors_of(const AdamWStep& s) {
  const auto narrow = [](double x) { return static_cast<float>(x); };
  AdamWFactors f;
  f.gradient_scale = narrow(s.gradient_scale);
  f.beta1 = narrow(s.beta1);
  f.rest1 = narrow(1 - s.beta1);
  f.beta2 = narrow(s.beta2);
  f.rest2 = narrow(1 - s.beta2);
  f.decay = narrow(1 - s.learning_rate * s.weight_decay);
  f.step_size = narrow(s.learning_rate / (1 - std::pow(s.beta1, static_cast<double>(s.step))));
  f.second_scale = narrow(1 / (1 - std::pow(s.beta2, static_cast<double>(s.step))));
  f.eps = narrow(s.eps);
  return f;
}

bool is_dense_float(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

}  // namespace

void adamw_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first, const at::Tensor& second,
                const at::Tensor& compute, const AdamWStep& step) {
  require(step.step >= 1, "adamw_step: step is ", step.step, "; the first is 1");
  require(master.sizes() == gradient.sizes() && master.sizes() == first.sizes() && master.sizes() == second.sizes() &&
              (!compute.defined() || compute.sizes() == master.sizes()),
          "adamw_step: master is ", master.sizes(), ", gradient ", gradient.sizes(), ", moments ", first.sizes(),
          " and ", second.sizes(), "; they must agree");
  const bool fast =
      is_dense_float(master) && is_dense_float(first) && is_dense_float(second) && is_fast(gradient) &&
      (!compute.defined() || (compute.is_cpu() && compute.scalar_type() == at::kBFloat16 && compute.is_contiguous()));
  if (!fast) return adamw_step_ref(master, gradient, first, second, compute, step);
  const at::Tensor grad = gradient.contiguous();
  const AdamWFactors factors = factors_of(step);
  const auto kernel = optimizer_kernels().adamw[element_of(grad)];
  const int64_t size = master.numel();
  for_parts(size, count_parts(size, rows_per_thread(1)), [&](int64_t, int64_t begin, int64_t end) {
    auto* copy = compute.defined() ? reinterpret_cast<uint16_t*>(row_at(compute, begin, 1)) : nullptr;
    kernel(master.mutable_data_ptr<float>() + begin, row_at(grad, begin, 1), first.mutable_data_ptr<float>() + begin,
           second.mutable_data_ptr<float>() + begin, copy, end - begin, factors);
  });
}

double sum_of_squares(const at::Tensor& tensor) {
  if (!is_fast(tensor)) return tensor.detach().to(at::kCPU).to(at::kDouble).square().sum().item<double>();
  const at::Tensor dense = tensor.detach().contiguous();
  const int64_t size = dense.numel(), parts = count_parts(size, rows_per_thread(1));
  std::vector<double> sums(parts);
  const auto kernel = optimizer_kernels().sum_of_squares[element_of(dense)];
  for_parts(size, parts, [&](int64_t part, int64_t begin, int64_t end) {
    sums[part] = kernel(row_at(dense, begin, 1), end - begin);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace xinslm
