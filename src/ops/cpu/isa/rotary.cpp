#include "ops/cpu/isa/simd.h"
#include "ops/cpu/row_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

template <class T>
void turn(const void* x, int64_t x_stride, void* y, int64_t y_stride, int64_t heads, int64_t half, const float* cos,
          const float* sin, float sign) {
  for (int64_t head = 0; head < heads; ++head) {
    const T* from = static_cast<const T*>(x) + head * x_stride;
    T* to = static_cast<T*>(y) + head * y_stride;
    for_vectors(half, [&](int64_t i, auto access) {
      const Vec a = access(from + i), b = access(from + half + i);
      const Vec c = access(cos + i), s = access(sin + i) * sign;
      access(to + i, a * c - b * s);
      access(to + half + i, b * c + a * s);
    });
  }
}

}  // namespace

const RotaryKernels rotary_kernels = {{turn<float>, turn<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
