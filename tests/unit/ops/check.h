#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "xinslm/core/cpu_features.h"

namespace xinslm::test {

using Tensors = std::vector<at::Tensor>;
using Operator = std::function<at::Tensor(const Tensors&)>;

/// Normal numbers from a seed.
at::Tensor normal(at::IntArrayRef sizes, uint64_t seed, at::ScalarType type = at::kFloat);

/// The output and then the gradient of every floating input, for a fixed random gradient of the output. Undefined
/// inputs stay undefined and have no gradient.
Tensors forward_and_backward(const Operator& op, const Tensors& inputs);

/// Largest |a - b| relative to the largest |b| (at least 1e-3).
double distance(const at::Tensor& a, const at::Tensor& b);

struct Tolerance {
  double float32 = 2e-5;
  double bfloat16 = 2e-2;  ///< against the reference in float32 on the same rounded inputs
};

/// Holds `fast` against `reference`, outputs and gradients, in float32 and bfloat16 and for every instruction set of
/// this processor; two runs must agree to the bit. `inputs` are float32; those listed in `kept` stay so in the bfloat16
/// runs (gains, biases, sinks, weights of routing).
void expect_matches(const Operator& fast, const Operator& reference, const Tensors& inputs,
                    const std::vector<size_t>& kept = {}, Tolerance tolerance = {});

/// Holds the gradients of `op`, run in float64, against central differences at some elements of each input.
void expect_gradient_is_difference(const Operator& op, const Tensors& inputs);

/// Expects Error(usage) with `text` in its message.
void expect_usage_error(const std::function<void()>& call, const std::string& text);

}  // namespace xinslm::test
