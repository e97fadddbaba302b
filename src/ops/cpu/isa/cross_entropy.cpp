#include "ops/cpu/isa/simd.h"
#include "ops/cpu/training_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

/// softcap * tanh(x / softcap)
XINSLM_INLINE Vec capped(Vec x, float softcap) {
  return softcap > 0 ? hyperbolic_tangent(x * (1.0f / softcap)) * softcap : x;
}

template <class T>
float largest(const T* logits, const CrossEntropyRow& row) {
  Vec most = all(-__builtin_inff());
  int64_t i = 0;
  for (; i + lanes <= row.vocabulary; i += lanes) most = larger_of(most, load(logits + i));
  float result = maximum(most);
  for (; i < row.vocabulary; ++i) result = larger(result, sum(load_part(logits + i, 1)));
  return row.softcap > 0 ? row.softcap * __builtin_tanhf(result / row.softcap) : result;
}

/// Loss of the row; keep(i, access, exponential) sees each vector of e^(logit - most).
template <class T, class Keep>
XINSLM_INLINE float row_loss(const T* logits, const CrossEntropyRow& row, float& total, const Keep& keep) {
  const float most = largest(logits, row);
  Vec sums = {}, plain = {};
  const IntVec numbers = lane_numbers();
  for_vectors(row.vocabulary, [&](int64_t i, auto access) {
    const Vec z = capped(access(logits + i), row.softcap);
    const IntVec inside = numbers < static_cast<int32_t>(smaller<int64_t>(lanes, row.vocabulary - i));
    const Vec e = select(inside, exponential(z - most), Vec{});
    sums += e;
    if (row.label_smoothing > 0) plain += z;
    keep(i, access, e);
  });
  total = sum(sums);
  const float log_sum = most + __builtin_logf(total);
  const float of_target = sum(capped(load_part(logits + row.target, 1), row.softcap));
  const float mean = sum(plain) / static_cast<float>(row.vocabulary);
  return log_sum - (1 - row.label_smoothing) * of_target - row.label_smoothing * mean;
}

template <class T>
float loss_and_gradient(void* data, const CrossEntropyRow& row, float* scratch) {
  T* logits = static_cast<T*>(data);
  float total;
  const float loss = row_loss(logits, row, total, [&](int64_t i, auto access, Vec e) { access(scratch + i, e); });
  scratch[row.target] -= (1 - row.label_smoothing) * total;
  const float factor = 1 / total, spread = row.label_smoothing / static_cast<float>(row.vocabulary);
  for_vectors(row.vocabulary, [&](int64_t i, auto access) {
    Vec grad = access(scratch + i) * factor - spread;
    if (row.softcap > 0) {
      const Vec tanh = hyperbolic_tangent(access(logits + i) * (1.0f / row.softcap));
      grad *= 1.0f - tanh * tanh;
    }
    access(logits + i, grad);
  });
  return loss;
}

template <class T>
float loss(const void* data, const CrossEntropyRow& row) {
  float total;
  return row_loss(static_cast<const T*>(data), row, total, [](int64_t, auto, Vec) {});
}

}  // namespace

const CrossEntropyKernels cross_entropy_kernels = {{loss_and_gradient<float>, loss_and_gradient<Bfloat16>},
                                                   {loss<float>, loss<Bfloat16>}};

}  // namespace xinslm::XINSLM_ISA
