#include "xinslm/train/gradients.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "xinslm/ops/adamw.h"

namespace xinslm {

Gradients::Gradients(const Transformer& model, int64_t batches) : single_(batches == 1) {
  for (const auto& [name, parameter] : model.parameters()) parameters_.push_back(parameter);
  sums_.resize(parameters_.size());
}

void Gradients::collect() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor gradient = parameters_[i].grad();
    if (!gradient.defined()) continue;
    parameters_[i].mutable_grad().reset();
    if (!sums_[i].defined()) {
      sums_[i] = single_ ? gradient : gradient.to(at::kFloat);
    } else {
      sums_[i].add_(gradient);
    }
  }
}

double Gradients::norm() const {
  at::NoGradGuard no_grad;
  double sum = 0;
  std::vector<at::Tensor> elsewhere;  // numbers on a GPU are fetched once, together
  for (const at::Tensor& gradient : sums_) {
    if (!gradient.defined()) continue;
    if (gradient.is_cpu()) {
      sum += sum_of_squares(gradient);
    } else {
      elsewhere.push_back(sum_of_squares_there(gradient));
    }
  }
  if (!elsewhere.empty()) sum += at::stack(elsewhere).sum().item<double>();
  return std::sqrt(sum);
}

void Gradients::release() {
  for (at::Tensor& sum : sums_) sum.reset();
}

}  // namespace xinslm
