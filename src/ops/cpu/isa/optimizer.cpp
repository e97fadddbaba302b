#include "ops/cpu/isa/simd.h"
#include "ops/cpu/training_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

XINSLM_INLINE Vec square_root(Vec v) {
  float part[lanes];
  store(part, v);
  for (int i = 0; i < lanes; ++i) part[i] = __builtin_sqrtf(part[i]);  // becomes one vector instruction
  return load(part);
}

template <class T>
void adamw(float* master, const void* gradient, float* first, float* second, uint16_t* compute, int64_t size,
           const AdamWFactors& f) {
  const T* gradients = static_cast<const T*>(gradient);
  for_vectors(size, [&](int64_t i, auto access) {
    const Vec g = access(gradients + i) * f.gradient_scale;
    const Vec m = access(first + i) * f.beta1 + g * f.rest1;
    const Vec v = access(second + i) * f.beta2 + g * g * f.rest2;
    const Vec denominator = square_root(v * f.second_scale) + f.eps;
    const Vec w = access(master + i) * f.decay - f.step_size * (m / denominator);
    access(first + i, m);
    access(second + i, v);
    access(master + i, w);
    if (compute) access(compute + i, w);
  });
}

template <class T>
double sum_of_squares(const void* x, int64_t size) {
  constexpr int64_t block = 1024;  // short enough for float32 sums, long enough that adding in float64 costs nothing
  const T* from = static_cast<const T*>(x);
  double total = 0;
  for (int64_t first = 0; first < size; first += block) {
    Vec squares = {};
    for_vectors(smaller(block, size - first), [&](int64_t i, auto access) {
      const Vec v = access(from + first + i);
      squares += v * v;
    });
    total += sum(squares);
  }
  return total;
}

}  // namespace

const OptimizerKernels optimizer_kernels = {{adamw<float>, adamw<Bfloat16>},
                                            {sum_of_squares<float>, sum_of_squares<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
