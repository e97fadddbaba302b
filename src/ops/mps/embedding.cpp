#include "ops/mps/embedding.h"

#include <ATen/ATen.h>

#include "ops/mps/launch.h"

namespace xinslm::mps {

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens) {
  auto sizes = tokens.sizes().vec();
  sizes.push_back(weight.size(1));
  const at::Tensor y = at::empty(sizes, weight.options());
  Launch("embedding", std::string("embedding_rows_") + suffix(weight))
      .tensor(weight)
      .tensor(tokens)
      .tensor(y)
      .integer(weight.size(0))
      .run({static_cast<uint64_t>(weight.size(1)), static_cast<uint64_t>(tokens.numel())}, {64, 1});
  return y;
}

at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocabulary) {
  const uint64_t count = tokens.numel(), width = grad.size(-1);
  const at::Tensor next = at::empty({tokens.numel()}, tokens.options().dtype(at::kInt)),
                   is_first = at::empty_like(next);
  Launch("embedding", "embedding_chains")
      .tensor(tokens)
      .tensor(next)
      .tensor(is_first)
      .integer(count)
      .run({count}, {64});
  const at::Tensor grad_weight = at::zeros({vocabulary, grad.size(-1)}, grad.options());
  Launch("embedding", std::string("embedding_backward_") + suffix(grad))
      .tensor(grad)
      .tensor(tokens)
      .tensor(next)
      .tensor(is_first)
      .tensor(grad_weight)
      .integer(vocabulary)
      .run({width, count}, {64, 1});
  return grad_weight;
}

}  // namespace xinslm::mps
