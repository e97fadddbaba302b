#include "ops/mps/launch.h"

namespace xinslm::mps {

bool is_fast(const at::Tensor& x) {
  const auto type = x.scalar_type();
  return x.is_mps() && (type == at::kFloat || type == at::kHalf || type == at::kBFloat16);
}

}  // namespace xinslm::mps
