#include "xinslm/ops/rms_norm.h"

#include <ATen/ATen.h>

#include "ops/ref/count.h"
#include "ops/ref/types.h"

namespace xinslm {

at::Tensor rms_norm_ref(const at::Tensor& x, const at::Tensor& gain, double eps) {
  count_reference("rms_norm", x);
  const at::Tensor wide = x.to(sum_type(x));
  const at::Tensor mean_square = (wide * wide).mean(-1, /*keepdim=*/true);
  return (wide * (mean_square + eps).rsqrt() * gain.to(wide.scalar_type())).to(x.scalar_type());
}

}  // namespace xinslm
