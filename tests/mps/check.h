#pragma once
#include "mps/fake_shim.h"
#include "unit/ops/check.h"

namespace xinslm::test {

/// Holds `op`, run through the Metal kernels in the simulator, against `reference`: outputs and gradients in float32,
/// and in float16 and bfloat16 against the reference in float32 on the same rounded inputs. `inputs` are float32; those
/// listed in `kept` stay so in the 16-bit runs. `kernel` is the beginning of the name of a kernel that must have been
/// launched.
void expect_metal_matches(const Operator& op, const Operator& reference, const Tensors& inputs,
                          const std::vector<size_t>& kept, const std::string& kernel, Tolerance tolerance = {});

}  // namespace xinslm::test
