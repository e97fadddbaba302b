#include "ops/cpu/isa/simd.h"
#include "ops/cpu/moe_kernels.h"

namespace xinslm::XINSLM_ISA {
namespace {

struct GateLinear {
  Vec gate, linear;
};

/// `lanes` neighbouring pairs, or the first `count`.
XINSLM_INLINE GateLinear load_pairs(const Bfloat16* p) {
  WordVec words;
  __builtin_memcpy(&words, p, sizeof words);
  return {bits_as<Vec>(words << 16), bits_as<Vec>(words & 0xffff0000u)};
}
XINSLM_INLINE GateLinear load_pairs(const float* p) {
  float gate[lanes], linear[lanes];
  for (int i = 0; i < lanes; ++i) {
    gate[i] = p[2 * i];
    linear[i] = p[2 * i + 1];
  }
  return {load(gate), load(linear)};
}
XINSLM_INLINE void store_pairs(Bfloat16* p, GateLinear v) {
  const WordVec words = words_of(round_to_bfloat16(v.gate)) | (words_of(round_to_bfloat16(v.linear)) << 16);
  __builtin_memcpy(p, &words, sizeof words);
}
XINSLM_INLINE void store_pairs(float* p, GateLinear v) {
  for (int i = 0; i < lanes; ++i) {
    p[2 * i] = v.gate[i];
    p[2 * i + 1] = v.linear[i];
  }
}
template <class T>
XINSLM_INLINE GateLinear load_pairs(const T* p, WholeVector) {
  return load_pairs(p);
}
template <class T>
XINSLM_INLINE GateLinear load_pairs(const T* p, PartVector part) {
  T pairs[2 * lanes] = {};
  for (int64_t i = 0; i < 2 * part.count; ++i) pairs[i] = p[i];
  return load_pairs(pairs);
}
template <class T>
XINSLM_INLINE void store_pairs(T* p, GateLinear v, WholeVector) {
  store_pairs(p, v);
}
template <class T>
XINSLM_INLINE void store_pairs(T* p, GateLinear v, PartVector part) {
  T pairs[2 * lanes];
  store_pairs(pairs, v);
  for (int64_t i = 0; i < 2 * part.count; ++i) p[i] = pairs[i];
}

template <class T, class Access>
XINSLM_INLINE GateLinear biased_pairs(const T* gate_up, const float* bias, Access access) {
  GateLinear v = load_pairs(gate_up, access);
  if (bias) {
    const GateLinear b = load_pairs(bias, access);
    v.gate += b.gate;
    v.linear += b.linear;
  }
  return v;
}

constexpr float gate_slope = 1.702f;  // x * sigmoid(1.702 x) approximates GELU (Hendrycks & Gimpel 2016)

struct Activation {
  Vec value, by_gate, by_linear;  // and its derivatives
};

template <bool clamped>
XINSLM_INLINE Activation activate(GateLinear v, float limit) {
  if (!clamped) {
    const Vec s = sigmoid(v.gate), gated = v.gate * s;
    return {gated * v.linear, v.linear * (s + gated * (1.0f - s)), gated};
  }
  // Comparisons are such that NaN goes through.
  const Vec gate = select(v.gate > limit, all(limit), v.gate);
  Vec linear = select(v.linear > limit, all(limit), v.linear);
  linear = select(linear < -limit, all(-limit), linear);
  const Vec s = sigmoid(gate_slope * gate), gated = gate * s;
  const Vec by_gate = (linear + 1.0f) * (s + gate_slope * gated * (1.0f - s));
  return {gated * (linear + 1.0f), select(v.gate > limit, Vec{}, by_gate),
          select((v.linear > limit) | (v.linear < -limit), Vec{}, gated)};
}

template <bool clamped, class T>
void swiglu_rows(const T* gate_up, const float* bias, float limit, T* act, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = gate_up + row * 2 * width;
    T* to = act + row * width;
    for_vectors(width, [&](int64_t i, auto access) {
      const float* shift = bias ? bias + 2 * i : nullptr;
      access(to + i, activate<clamped>(biased_pairs(from + 2 * i, shift, access), limit).value);
    });
  }
}

template <class T>
void swiglu(const void* gate_up, const float* bias, double limit, void* act, int64_t rows, int64_t width) {
  const T* from = static_cast<const T*>(gate_up);
  T* to = static_cast<T*>(act);
  if (limit > 0) {
    swiglu_rows<true>(from, bias, static_cast<float>(limit), to, rows, width);
  } else {
    swiglu_rows<false>(from, bias, 0.0f, to, rows, width);
  }
}

template <bool clamped, class T>
void swiglu_backward_row(const T* gate_up, const float* bias, float limit, float weight, const T* grad_act,
                         T* weighted_act, T* grad_gate_up, float* grad_weight, float* grad_bias, int64_t width) {
  Vec by_weight = {};
  for_vectors(width, [&](int64_t i, auto access) {
    const Activation a = activate<clamped>(biased_pairs(gate_up + 2 * i, bias ? bias + 2 * i : nullptr, access), limit);
    const Vec unweighted = access(grad_act + i), grad = unweighted * weight;
    by_weight += unweighted * a.value;
    if (weighted_act) access(weighted_act + i, a.value * weight);
    const GateLinear result{grad * a.by_gate, grad * a.by_linear};
    store_pairs(grad_gate_up + 2 * i, result, access);
    if (grad_bias) {
      access(grad_bias + i, access(grad_bias + i) + result.gate);
      access(grad_bias + width + i, access(grad_bias + width + i) + result.linear);
    }
  });
  if (grad_weight) *grad_weight += sum(by_weight);
}

template <class T>
void swiglu_backward(const void* gate_up, const float* bias, double limit, const float* weights, const void* grad_act,
                     void* weighted_act, void* grad_gate_up, float* grad_weights, float* grad_bias, int64_t rows,
                     int64_t width) {
  const auto row_backward = limit > 0 ? swiglu_backward_row<true, T> : swiglu_backward_row<false, T>;
  for (int64_t row = 0; row < rows; ++row) {
    row_backward(static_cast<const T*>(gate_up) + row * 2 * width, bias, static_cast<float>(limit),
                 weights ? weights[row] : 1.0f, static_cast<const T*>(grad_act) + row * width,
                 weighted_act ? static_cast<T*>(weighted_act) + row * width : nullptr,
                 static_cast<T*>(grad_gate_up) + row * 2 * width, grad_weights ? grad_weights + row : nullptr,
                 grad_bias, width);
  }
}

template <class T>
void gather_grad(const void* grad, const int64_t* tokens, const float* weights, const float* bias, void* rows,
                 float* grad_weights, float* grad_bias, int64_t count, int64_t width) {
  for (int64_t row = 0; row < count; ++row) {
    const T* from = static_cast<const T*>(grad) + tokens[row] * width;
    T* to = static_cast<T*>(rows) + row * width;
    const float weight = weights[row];
    Vec by_weight = {};
    for_vectors(width, [&](int64_t i, auto access) {
      const Vec v = access(from + i);
      access(to + i, v);
      if (bias) {
        by_weight += v * access(bias + i);
        access(grad_bias + i, access(grad_bias + i) + v * weight);
      }
    });
    grad_weights[row] = sum(by_weight);
  }
}

template <class T>
void combine(const void* y, const int64_t* places, const float* weights, const int64_t* experts, const float* bias,
             int64_t k, int64_t width, float* scratch, void* out) {
  for (int64_t j = 0; j < k; ++j) {
    const T* from = static_cast<const T*>(y) + places[j] * width;
    const float weight = weights ? weights[j] : 1.0f;
    const float* shift = bias ? bias + experts[j] * width : nullptr;
    for_vectors(width, [&](int64_t i, auto access) {
      Vec v = access(from + i);
      if (shift) v += access(shift + i);
      v *= weight;
      access(scratch + i, j == 0 ? v : access(scratch + i) + v);
    });
  }
  T* to = static_cast<T*>(out);
  for_vectors(width, [&](int64_t i, auto access) { access(to + i, access(scratch + i)); });
}

}  // namespace

const MoeKernels moe_kernels = {
    {swiglu<float>, swiglu<Bfloat16>},
    {swiglu_backward<float>, swiglu_backward<Bfloat16>},
    {gather_grad<float>, gather_grad<Bfloat16>},
    {combine<float>, combine<Bfloat16>},
};

}  // namespace xinslm::XINSLM_ISA
