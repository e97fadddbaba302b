#include "mps/check.h"

#include <algorithm>

namespace xinslm::test {

void expect_metal_matches(const Operator& op, const Operator& reference, const Tensors& inputs,
                          const std::vector<size_t>& kept, const std::string& kernel, Tolerance tolerance) {
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    Tensors rounded = inputs, exact = inputs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const bool is_kept = std::find(kept.begin(), kept.end(), i) != kept.end();
      if (is_kept || !inputs[i].defined() || !inputs[i].is_floating_point()) continue;
      rounded[i] = inputs[i].to(type);
      exact[i] = rounded[i].to(at::kFloat);
    }
    const Tensors expected = forward_and_backward(reference, exact);
    const SimulatedMetal metal;
    const Tensors found = forward_and_backward(op, rounded);
    const auto is_wanted = [&](const RecordedLaunch& l) { return l.kernel.starts_with(kernel); };
    EXPECT_TRUE(std::any_of(metal.launches().begin(), metal.launches().end(), is_wanted)) << kernel << " never ran";
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LE(distance(found[i].to(at::kFloat), expected[i]),
                type == at::kFloat ? tolerance.float32 : tolerance.bfloat16)
          << (i == 0 ? "output" : "gradient") << " " << i << " in " << type;
    }
  }
}

}  // namespace xinslm::test
