#include "ops/cpu/isa/simd.h"
#include "ops/cpu/row_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

template <class T>
void add_bias(void* y, const float* bias, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    T* p = static_cast<T*>(y) + row * width;
    for_vectors(width, [&](int64_t i, auto access) { access(p + i, access(p + i) + access(bias + i)); });
  }
}

template <class T>
void accumulate(float* sum, const void* x, int64_t size) {
  const T* from = static_cast<const T*>(x);
  for_vectors(size, [&](int64_t i, auto access) { access(sum + i, access(sum + i) + access(from + i)); });
}

template <class T>
void add_columns(const void* x, int64_t rows, int64_t width, float* sums) {
  for (int64_t row = 0; row < rows; ++row) accumulate<T>(sums, static_cast<const T*>(x) + row * width, width);
}

template <class T>
void scale(const float* x, float factor, void* y, int64_t size) {
  T* to = static_cast<T*>(y);
  for_vectors(size, [&](int64_t i, auto access) { access(to + i, access(x + i) * factor); });
}

template <class T>
void sum_rows(const void* x, const int64_t* rows, int64_t count, int64_t width, float* scratch, void* out) {
  __builtin_memset(scratch, 0, width * sizeof *scratch);
  for (int64_t i = 0; i < count; ++i) accumulate<T>(scratch, static_cast<const T*>(x) + rows[i] * width, width);
  scale<T>(scratch, 1.0f, out, width);
}

int64_t largest(const float* x, int64_t size) {
  constexpr int together = 4;
  const Vec none = all(-__builtin_inff());
  Vec most[together] = {none, none, none, none};
  int64_t i = 0;
  for (; i + together * lanes <= size; i += together * lanes) {
    XINSLM_UNROLL
    for (int v = 0; v < together; ++v) most[v] = larger_of(load(x + i + v * lanes), most[v]);
  }
  float found = maximum(larger_of(larger_of(most[0], most[1]), larger_of(most[2], most[3])));
  for (; i < size; ++i) found = x[i] > found ? x[i] : found;
  for (i = 0; i + lanes <= size; i += lanes) {
    if (any(load(x + i) == all(found))) break;
  }
  for (; i < size; ++i) {
    if (x[i] == found) return i;
  }
  return 0;
}

}  // namespace

const RowKernels row_kernels = {
    {add_bias<float>, add_bias<Bfloat16>},     {add_columns<float>, add_columns<Bfloat16>},
    {accumulate<float>, accumulate<Bfloat16>}, {scale<float>, scale<Bfloat16>},
    {sum_rows<float>, sum_rows<Bfloat16>},     largest,
};

}  // namespace xinslm::XINSLM_ISA
