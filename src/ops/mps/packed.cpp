#include "ops/mps/packed.h"

#include <ATen/ATen.h>

#include "ops/mps/launch.h"
#include "ops/mps/product.h"
#include "xinslm/core/error.h"

namespace xinslm::mps {
namespace {

/// Rows up to which reading the weights once for each costs less than a tile of 32.
constexpr int64_t few_rows = 4;

/// Two simdgroups, four rows of the matrix each: small groups, so that small matrices reach all cores of the GPU.
constexpr VectorGroup vector_group{64, 8};

at::Tensor linear_vector(const at::Tensor& x, const Matrix& weight, const at::Tensor& bias) {
  const at::Tensor out = at::empty({x.size(0), weight.out}, x.options());
  Launch launch("packed_vector", cat("linear_vector_", weight.kind, "_", suffix(x)));
  launch.tensor(x).tensor(weight.values).tensor(weight.scales).tensor(or_any(bias, weight.scales)).tensor(out);
  launch.integer(bias.defined()).integer(weight.out).integer(weight.in);
  run_vector(launch, vector_group, weight.out, x.size(0));
  return out;
}

at::Tensor forward(const at::Tensor& x, const Matrix& weight, const at::Tensor& bias) {
  const at::Tensor shift = bias.defined() ? dense(bias.to(at::kFloat)) : bias;
  if (x.size(0) <= few_rows) return linear_vector(dense(x), weight, shift);
  return product(dense(x), {}, weight, Direction::forward, shift);
}

at::Tensor backward(const at::Tensor& grad, const Matrix& weight) {
  return product(dense(grad), {}, weight, Direction::backward, {});
}

}  // namespace

at::Tensor packed_linear_forward(const at::Tensor& x, const Mxfp4Tensor& weight, const at::Tensor& bias) {
  return forward(x, matrix_of(weight), bias);
}

at::Tensor packed_linear_forward(const at::Tensor& x, const Q8Tensor& weight, const at::Tensor& bias) {
  return forward(x, matrix_of(weight), bias);
}

at::Tensor packed_linear_backward(const at::Tensor& grad, const Mxfp4Tensor& weight) {
  return backward(grad, matrix_of(weight));
}

at::Tensor packed_linear_backward(const at::Tensor& grad, const Q8Tensor& weight) {
  return backward(grad, matrix_of(weight));
}

at::Tensor packed_embedding(const Q8Tensor& weight, const at::Tensor& tokens, at::ScalarType type) {
  const Matrix table = matrix_of(weight);
  const at::Tensor ids = dense(tokens.to(table.values.device()));
  auto sizes = tokens.sizes().vec();
  sizes.push_back(table.in);
  const at::Tensor out = at::empty(sizes, table.scales.options().dtype(type));
  Launch launch("packed_vector", cat("q8_rows_", suffix(out)));
  launch.tensor(table.values).tensor(table.scales).tensor(ids).tensor(out).integer(table.out).integer(table.in);
  launch.run({static_cast<uint64_t>(table.in / 4), static_cast<uint64_t>(ids.numel())}, {64});
  return out;
}

}  // namespace xinslm::mps
