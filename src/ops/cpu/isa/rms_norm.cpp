#include "ops/cpu/isa/simd.h"
#include "ops/cpu/row_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

template <class T>
void forward(const void* x, const float* gain, double eps, void* y, float* inverse_rms, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = static_cast<const T*>(x) + row * width;
    T* to = static_cast<T*>(y) + row * width;
    Vec squares = {};
    for_vectors(width, [&](int64_t i, auto access) {
      const Vec v = access(from + i);
      squares += v * v;
    });
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + static_cast<float>(eps));
    inverse_rms[row] = factor;
    for_vectors(width, [&](int64_t i, auto access) { access(to + i, access(from + i) * factor * access(gain + i)); });
  }
}

// With n = x / rms: grad_x = (g - n * mean(g * n)) / rms for g = grad_y * gain.
template <class T>
void backward(const void* x, const float* gain, const float* inverse_rms, const void* grad_y, void* grad_x,
              float* grad_gain, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = static_cast<const T*>(x) + row * width;
    const T* grad = static_cast<const T*>(grad_y) + row * width;
    T* to = static_cast<T*>(grad_x) + row * width;
    const float factor = inverse_rms[row];
    Vec products = {};
    for_vectors(width, [&](int64_t i, auto access) {
      const Vec share = access(grad + i) * (access(from + i) * factor);
      products += share * access(gain + i);
      access(grad_gain + i, access(grad_gain + i) + share);
    });
    const float mean = sum(products) / static_cast<float>(width);
    for_vectors(width, [&](int64_t i, auto access) {
      const Vec normal = access(from + i) * factor;
      access(to + i, (access(grad + i) * access(gain + i) - normal * mean) * factor);
    });
  }
}

}  // namespace

const RmsNormKernels rms_norm_kernels = {{forward<float>, forward<Bfloat16>}, {backward<float>, backward<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
