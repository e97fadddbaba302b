#include "mps/matches.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

namespace xinslm::test {
namespace {

Tensors with_type(const Tensors& inputs, at::ScalarType type, const std::vector<size_t>& kept) {
  Tensors result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool keeps = std::find(kept.begin(), kept.end(), i) != kept.end();
    result.push_back(inputs[i].defined() && !keeps ? inputs[i].to(type) : inputs[i]);
  }
  return result;
}

/// The output and then the gradients of the first inputs.
Tensors with_gradients(const Operator& op, Tensors inputs, size_t differentiable) {
  Tensors wanted;
  for (size_t i = 0; i < std::min(differentiable, inputs.size()); ++i) {
    if (!inputs[i].defined()) continue;
    inputs[i] = inputs[i].detach().requires_grad_(true);
    wanted.push_back(inputs[i]);
  }
  Tensors results{op(inputs)};
  const at::Tensor grad = normal(results[0].sizes(), 99).to(results[0].scalar_type());
  const auto grads = torch::autograd::grad({results[0]}, wanted, {grad});
  results.insert(results.end(), grads.begin(), grads.end());
  return results;
}

}  // namespace

void expect_metal_matches(const Operator& fast, const Operator& reference, const Tensors& inputs,
                          const std::vector<size_t>& kept, size_t differentiable) {
  const std::vector<std::pair<at::ScalarType, double>> types = {
      {at::kFloat, 2e-5}, {at::kHalf, 4e-3}, {at::kBFloat16, 3e-2}};
  for (const auto& [type, allowed] : types) {
    const Tensors rounded = with_type(inputs, type, kept);
    const Tensors expected = with_gradients(reference, with_type(rounded, at::kDouble, {}), differentiable);
    const Tensors found = with_gradients(fast, rounded, differentiable);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].sizes(), expected[i].sizes());
      EXPECT_LE(distance(found[i], expected[i]), allowed) << type << (i ? " gradient " : " output ") << i;
    }
    const at::NoGradGuard no_grad;
    EXPECT_LE(distance(fast(rounded), expected[0]), allowed) << type << " without gradients";
  }
}

}  // namespace xinslm::test
