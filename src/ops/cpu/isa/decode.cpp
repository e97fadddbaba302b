#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/isa/attend.h"
#include "ops/cpu/isa/attend_bytes.h"
#include "ops/cpu/isa/attend_pairs.h"

namespace xinslm::XINSLM_ISA {
namespace {

void join_stretches(const float* largest, const float* total, const float* mixed, int64_t stretches, int64_t stride,
                    const float* sink, int64_t head_dim, float* out) {
  float most = sink ? *sink : -infinity;
  for (int64_t s = 0; s < stretches; ++s) most = larger(most, largest[s * stride]);
  float sum_of_all = sink ? __builtin_expf(*sink - most) : 0.0f;
  for (int64_t s = 0; s < stretches; ++s) sum_of_all += total[s * stride] * __builtin_expf(largest[s * stride] - most);
  for (int64_t i = 0; i < head_dim; ++i) out[i] = 0;
  for (int64_t s = 0; s < stretches; ++s) {
    const float share = __builtin_expf(largest[s * stride] - most) / sum_of_all;
    const float* part = mixed + s * stride * head_dim;
    for_vectors(head_dim, [&](int64_t i, auto access) { access(out + i, access(out + i) + access(part + i) * share); });
  }
}

/// Row after row, so that memory is read in one stream, onto sums that stay in the first cache.
template <class T>
void add_vector_times_matrix(const float* x, const void* matrix, int64_t height, int64_t width, float* out) {
  constexpr int64_t columns_cached = 4096;
  const T* from = static_cast<const T*>(matrix);
  for (int64_t first = 0; first < width; first += columns_cached, from += columns_cached, out += columns_cached) {
    const int64_t count = smaller(columns_cached, width - first);
    for (int64_t row = 0; row < height; ++row) {
      const T* weights = from + row * width;
      const Vec factor = all(x[row]);
      for_vectors(count, [&](int64_t i, auto access) { access(out + i, access(out + i) + access(weights + i) * factor); });
    }
  }
}

}  // namespace

#ifdef XINSLM_ATTEND_DOT
constexpr auto attend_bfloat16 = attend_pairs, attend_int8 = attend_bytes;
#else
constexpr auto attend_bfloat16 = attend<Bfloat16>, attend_int8 = attend<int8_t>;
#endif

const DecodeKernels decode_kernels = {{attend<float>, attend_bfloat16, attend<Float16>, attend_int8},
                                      join_stretches,
                                      {add_vector_times_matrix<float>, add_vector_times_matrix<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
