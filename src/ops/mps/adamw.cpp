#include "ops/mps/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/mps/launch.h"

namespace xinslm::mps {
namespace {

bool is_dense(const at::Tensor& x) {
  return is_fast(x) && x.is_contiguous();
}

}  // namespace

bool takes_adamw(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first,
                 const at::Tensor& second, const at::Tensor& compute) {
  const auto is_dense_float = [](const at::Tensor& x) { return is_dense(x) && x.scalar_type() == at::kFloat; };
  const bool fits = !compute.defined() || gradient.scalar_type() == compute.scalar_type() ||
                    gradient.scalar_type() == at::kFloat || compute.scalar_type() == at::kFloat;
  return is_dense_float(master) && is_dense(gradient) && is_dense_float(first) && is_dense_float(second) &&
         (!compute.defined() || is_dense(compute)) && fits && master.numel() > 0;
}

void adamw_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& first, const at::Tensor& second,
                const at::Tensor& compute, const AdamWFactors& f) {
  const at::Tensor& copy = compute.defined() ? compute : master;
  const std::string kernel = std::string("adamw_step_") + suffix(gradient) + "_" + suffix(copy);
  const int64_t size = master.numel();
  for (int64_t begin = 0; begin < size; begin += largest_grid) {
    const int64_t count = std::min(largest_grid, size - begin);
    const auto part = [&](const at::Tensor& x) { return x.view(-1).narrow(0, begin, count); };
    Launch launch("adamw", kernel);
    launch.tensor(part(master)).tensor(part(gradient)).tensor(part(first)).tensor(part(second)).tensor(part(copy));
    launch.integer(compute.defined());
    for (const float factor :
         {f.gradient_scale, f.beta1, f.rest1, f.beta2, f.rest2, f.decay, f.step_size, f.second_scale, f.eps}) {
      launch.real(factor);
    }
    launch.run({static_cast<uint64_t>(count)}, {256});
  }
}

at::Tensor sum_of_squares(const at::Tensor& x) {
  constexpr uint64_t threads = 256, most_groups = 1024;
  const int64_t size = x.numel(), stretch = std::max<int64_t>(16 * threads, (size + most_groups - 1) / most_groups);
  const uint64_t groups = (size + stretch - 1) / stretch;
  const at::Tensor sums = at::empty({static_cast<int64_t>(groups)}, x.options().dtype(at::kFloat));
  Launch("adamw", std::string("sum_of_squares_") + suffix(x))
      .tensor(x)
      .tensor(sums)
      .integer(size)
      .integer(stretch)
      .run({groups * threads}, {threads});
  return sums.sum();
}

}  // namespace xinslm::mps
