#include "xinslm/train/muon.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace xinslm {
namespace {

constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
constexpr int iterations = 5;

at::Tensor iterate(at::Tensor x) {
  for (int i = 0; i < iterations; ++i) {
    const at::Tensor gram = at::bmm(x, x.transpose(1, 2));
    const at::Tensor polynomial = at::baddbmm(gram, gram, gram, b, c);
    x = at::baddbmm(x, polynomial, x, a, 1);
  }
  return x;
}

}  // namespace

at::Tensor orthogonalize(const at::Tensor& matrices) {
  const int64_t rows = matrices.size(-2), columns = matrices.size(-1);
  at::Tensor x = matrices.reshape({-1, rows, columns});
  // The Frobenius norm bounds the largest singular value, so the iteration starts where it converges.
  const at::Tensor norm = at::linalg_vector_norm(x, 2, at::IntArrayRef({1, 2}), true, at::kFloat);
  x = x / (norm + 1e-7).to(x.scalar_type());
  // The gram matrix is smaller on the shorter side.
  x = rows > columns ? iterate(x.transpose(1, 2).contiguous()).transpose(1, 2) : iterate(x);
  return x.reshape(matrices.sizes());
}

void muon_step(const at::Tensor& master, const at::Tensor& gradient, const at::Tensor& momentum,
               const at::Tensor& compute, const MuonStep& step) {
  at::NoGradGuard no_grad;
  momentum.mul_(step.momentum).add_(gradient, step.gradient_scale);
  const at::Tensor nesterov = at::add(momentum * step.momentum, gradient, step.gradient_scale).to(step.type);
  const at::Tensor update = orthogonalize(nesterov);
  const bool expert = master.dim() == 3;
  const double out = static_cast<double>(master.size(expert ? -1 : -2));
  const double in = static_cast<double>(master.size(expert ? -2 : -1));
  master.mul_(1 - step.learning_rate * step.weight_decay);
  master.add_(update, -step.learning_rate * std::sqrt(std::max(1.0, out / in)));
  if (compute.defined()) compute.copy_(master);
}

}  // namespace xinslm
