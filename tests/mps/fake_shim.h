#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <variant>
#include <vector>

#include "ops/mps/launch.h"

namespace xinslm::test {

/// What the host code gave to one launch.
struct RecordedLaunch {
  std::string library, kernel;
  std::vector<std::variant<at::Tensor, int64_t>> arguments;  ///< by buffer index
  mps::Size3 threads, group;
};

/// While one of these lives, mps::is_fast takes tensors of the processor, and their kernels run in the simulator.
class SimulatedMetal {
 public:
  SimulatedMetal();
  ~SimulatedMetal();
  SimulatedMetal(const SimulatedMetal&) = delete;
  SimulatedMetal& operator=(const SimulatedMetal&) = delete;

  const std::vector<RecordedLaunch>& launches() const;
  /// How often a kernel of this name was launched.
  int64_t count(const std::string& kernel) const;
};

}  // namespace xinslm::test
