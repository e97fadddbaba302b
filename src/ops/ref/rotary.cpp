#include "xinslm/ops/rotary.h"

#include <ATen/ATen.h>

#include "ops/ref/count.h"
#include "ops/ref/types.h"

namespace xinslm {

at::Tensor rotary_ref(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  count_reference("rotary", x);
  const at::Tensor wide = x.to(sum_type(x));
  const auto halves = wide.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1).to(x.scalar_type());
}

}  // namespace xinslm
