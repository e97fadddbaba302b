#pragma once
#include "unit/ops/check.h"

namespace xinslm::test {

/// Holds `fast`, run by the simulator in float32, float16 and bfloat16, against `reference` in float64 on the same
/// rounded inputs, outputs and gradients, and a run without gradients as well. `inputs` are float32; those listed in
/// `kept` stay so; gradients are taken of the first `differentiable` inputs, or of all that are there.
void expect_metal_matches(const Operator& fast, const Operator& reference, const Tensors& inputs,
                          const std::vector<size_t>& kept = {}, size_t differentiable = 100);

}  // namespace xinslm::test
