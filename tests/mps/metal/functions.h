#pragma once
#include "metal/types.h"

namespace metal {

template <class T, class R = T>
using if_real = typename std::enable_if<is_real<T>::value, R>::type;
template <class T, class R = T>
using if_scalar = typename std::enable_if<is_scalar<T>::value, R>::type;
template <class T, class R = T>
using if_integer = typename std::enable_if<std::is_integral<T>::value, R>::type;

// Functions of real numbers, element by element for vectors. Integers are refused, as Metal finds them ambiguous.
#define REAL_FUNCTION(name, of_float)                        \
  template <class T>                                         \
  if_real<T> name(T x) {                                     \
    return T(of_float(float(x)));                            \
  }                                                          \
  template <class T, int N>                                  \
  vec<T, N> name(const vec<T, N>& x) {                       \
    vec<T, N> r;                                             \
    for (int i = 0; i < N; ++i) r.data[i] = name(x.data[i]); \
    return r;                                                \
  }
inline float inverse_root(float x) {
  return 1 / __builtin_sqrtf(x);
}
inline float tenth_power(float x) {
  return __builtin_powf(10, x);
}
REAL_FUNCTION(exp, __builtin_expf)
REAL_FUNCTION(exp2, __builtin_exp2f)
REAL_FUNCTION(exp10, tenth_power)
REAL_FUNCTION(log, __builtin_logf)
REAL_FUNCTION(log2, __builtin_log2f)
REAL_FUNCTION(log10, __builtin_log10f)
REAL_FUNCTION(sqrt, __builtin_sqrtf)
REAL_FUNCTION(rsqrt, inverse_root)
REAL_FUNCTION(sin, __builtin_sinf)
REAL_FUNCTION(cos, __builtin_cosf)
REAL_FUNCTION(tanh, __builtin_tanhf)
REAL_FUNCTION(floor, __builtin_floorf)
REAL_FUNCTION(ceil, __builtin_ceilf)
REAL_FUNCTION(round, __builtin_roundf)
REAL_FUNCTION(rint, __builtin_rintf)
REAL_FUNCTION(trunc, __builtin_truncf)
REAL_FUNCTION(fabs, __builtin_fabsf)
#undef REAL_FUNCTION

namespace precise {
using metal::cos;
using metal::exp;
using metal::exp2;
using metal::log;
using metal::log2;
using metal::rsqrt;
using metal::sin;
using metal::sqrt;
using metal::tanh;
}  // namespace precise
namespace fast = precise;

template <class T>
if_real<T> pow(T x, T y) {
  return T(__builtin_powf(float(x), float(y)));
}
template <class T>
if_real<T> fma(T a, T b, T c) {
  return T(__builtin_fmaf(float(a), float(b), float(c)));
}
template <class T, int N>
vec<T, N> fma(const vec<T, N>& a, const vec<T, N>& b, const vec<T, N>& c) {
  vec<T, N> r;
  for (int i = 0; i < N; ++i) r.data[i] = fma(a.data[i], b.data[i], c.data[i]);
  return r;
}
template <class T>
if_real<T> ldexp(T x, int exponent) {
  return T(__builtin_ldexpf(float(x), exponent));
}
template <class T>
if_real<T, bool> isnan(T x) {
  return __builtin_isnan(float(x));
}
template <class T>
if_real<T, bool> isinf(T x) {
  return __builtin_isinf(float(x));
}
template <class T>
if_real<T, bool> isfinite(T x) {
  return __builtin_isfinite(float(x));
}

template <class T>
if_scalar<T> abs(T x) {
  return x < T(0) ? T(-x) : x;
}
/// A not-a-number loses, as fmax and fmin have it.
template <class T>
if_scalar<T> max(T a, T b) {
  return a > b || b != b ? a : b;
}
template <class T>
if_scalar<T> min(T a, T b) {
  return a < b || b != b ? a : b;
}
template <class T>
if_scalar<T> clamp(T x, T low, T high) {
  return min(max(x, low), high);
}
#define OF_EACH_ELEMENT(name)                                           \
  template <class T, int N>                                             \
  vec<T, N> name(const vec<T, N>& a, const vec<T, N>& b) {              \
    vec<T, N> r;                                                        \
    for (int i = 0; i < N; ++i) r.data[i] = name(a.data[i], b.data[i]); \
    return r;                                                           \
  }                                                                     \
  template <class T, int N>                                             \
  vec<T, N> name(const vec<T, N>& a, typename same<T>::type b) {        \
    return name(a, vec<T, N>(b));                                       \
  }
OF_EACH_ELEMENT(max)
OF_EACH_ELEMENT(min)
#undef OF_EACH_ELEMENT
template <class T, int N>
vec<T, N> clamp(const vec<T, N>& x, typename same<T>::type low, typename same<T>::type high) {
  return min(max(x, low), high);
}
template <class T, int N>
vec<T, N> abs(const vec<T, N>& x) {
  return max(x, -x);
}
template <class T>
if_real<T> fmax(T a, T b) {
  return max(a, b);
}
template <class T>
if_real<T> fmin(T a, T b) {
  return min(a, b);
}
template <class T>
if_real<T> sign(T x) {
  return T(x > T(0) ? 1 : x < T(0) ? -1 : 0);
}
template <class T>
if_scalar<T> select(T otherwise, T chosen, bool condition) {
  return condition ? chosen : otherwise;
}
template <class T, int N>
T dot(const vec<T, N>& a, const vec<T, N>& b) {
  T sum = T(a.data[0] * b.data[0]);
  for (int i = 1; i < N; ++i) sum = T(sum + a.data[i] * b.data[i]);
  return sum;
}

template <class T>
if_integer<T> popcount(T x) {
  return T(__builtin_popcountll(typename std::make_unsigned<T>::type(x)));
}
template <class T>
if_integer<T> clz(T x) {
  const unsigned long wide = typename std::make_unsigned<T>::type(x);
  return T(wide ? __builtin_clzl(wide) - int(64 - 8 * sizeof(T)) : int(8 * sizeof(T)));
}
template <class T>
if_integer<T> ctz(T x) {
  return T(x ? __builtin_ctzll(typename std::make_unsigned<T>::type(x)) : int(8 * sizeof(T)));
}

}  // namespace metal
