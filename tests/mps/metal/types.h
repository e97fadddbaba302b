#pragma once
#include <stdint.h>

#include <limits>
#include <type_traits>

// Address spaces. `threadgroup` in declarations of arrays is translated before; in pointers it says nothing here.
#define kernel
#define device
#define constant const
#define thread
#define threadgroup

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;

/// The upper half of a float. As in Metal, it becomes a float by itself, and a float becomes one only when told so.
struct bfloat {
  uint16_t bits;

  bfloat() = default;
  template <class T,
            class = typename std::enable_if<std::is_arithmetic<T>::value || std::is_same<T, half>::value>::type>
  explicit constexpr bfloat(T x) : bits(rounded(__builtin_bit_cast(uint32_t, static_cast<float>(x)))) {}
  constexpr operator float() const { return __builtin_bit_cast(float, uint32_t(bits) << 16); }

 private:
  static constexpr uint16_t rounded(uint32_t x) {
    return (x & 0x7fffffff) > 0x7f800000 ? uint16_t(x >> 16 | 0x40) : uint16_t((x + 0x7fff + (x >> 16 & 1)) >> 16);
  }
};

namespace metal {

template <class T>
struct is_real : std::integral_constant<bool, std::is_same<T, float>::value || std::is_same<T, half>::value ||
                                                  std::is_same<T, bfloat>::value> {};
template <class T>
struct is_scalar : std::integral_constant<bool, is_real<T>::value || std::is_integral<T>::value> {};

template <class T, int N>
struct vec;

template <class T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
  union {
    struct {
      T x, y;
    };
    T data[2];
  };
  vec() = default;
  constexpr vec(T all) : x(all), y(all) {}
  constexpr vec(T x, T y) : x(x), y(y) {}
  template <class U>
  explicit constexpr vec(const vec<U, 2>& v) : x(T(v.x)), y(T(v.y)) {}
  T& operator[](int i) { return data[i]; }
  constexpr const T& operator[](int i) const { return data[i]; }
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 3> {
  union {
    struct {
      T x, y, z;
    };
    vec<T, 2> xy;
    T data[3];
  };
  vec() = default;
  constexpr vec(T all) : x(all), y(all), z(all) {}
  constexpr vec(T x, T y, T z) : x(x), y(y), z(z) {}
  constexpr vec(vec<T, 2> xy, T z) : x(xy.x), y(xy.y), z(z) {}
  template <class U>
  explicit constexpr vec(const vec<U, 3>& v) : x(T(v.x)), y(T(v.y)), z(T(v.z)) {}
  T& operator[](int i) { return data[i]; }
  constexpr const T& operator[](int i) const { return data[i]; }
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
  union {
    struct {
      T x, y, z, w;
    };
    struct {
      vec<T, 2> xy, zw;
    };
    vec<T, 3> xyz;
    T data[4];
  };
  vec() = default;
  constexpr vec(T all) : x(all), y(all), z(all), w(all) {}
  constexpr vec(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
  constexpr vec(vec<T, 2> xy, vec<T, 2> zw) : x(xy.x), y(xy.y), z(zw.x), w(zw.y) {}
  constexpr vec(vec<T, 3> xyz, T w) : x(xyz.x), y(xyz.y), z(xyz.z), w(w) {}
  template <class U>
  explicit constexpr vec(const vec<U, 4>& v) : x(T(v.x)), y(T(v.y)), z(T(v.z)), w(T(v.w)) {}
  T& operator[](int i) { return data[i]; }
  constexpr const T& operator[](int i) const { return data[i]; }
};

/// What the threads of a group may use apart from each other: a number, or any byte of what is not known.
template <class T>
struct grain {
  static constexpr int bytes = is_scalar<T>::value ? sizeof(T) : 1;
};
template <class T, int N>
struct grain<vec<T, N>> : grain<T> {};

template <class T>
struct same {
  typedef T type;
};

#define VECTOR_OPERATOR(op)                                             \
  template <class T, int N>                                             \
  vec<T, N> operator op(const vec<T, N>& a, const vec<T, N>& b) {       \
    vec<T, N> r;                                                        \
    for (int i = 0; i < N; ++i) r.data[i] = T(a.data[i] op b.data[i]);  \
    return r;                                                           \
  }                                                                     \
  template <class T, int N>                                             \
  vec<T, N> operator op(const vec<T, N>& a, typename same<T>::type b) { \
    return a op vec<T, N>(b);                                           \
  }                                                                     \
  template <class T, int N>                                             \
  vec<T, N> operator op(typename same<T>::type a, const vec<T, N>& b) { \
    return vec<T, N>(a) op b;                                           \
  }                                                                     \
  template <class T, int N, class B>                                    \
  vec<T, N>& operator op##=(vec<T, N>& a, const B& b) {                 \
    return a = a op b;                                                  \
  }
VECTOR_OPERATOR(+)
VECTOR_OPERATOR(-)
VECTOR_OPERATOR(*)
VECTOR_OPERATOR(/)
VECTOR_OPERATOR(%)
VECTOR_OPERATOR(&)
VECTOR_OPERATOR(|)
VECTOR_OPERATOR(^)
VECTOR_OPERATOR(<<)
VECTOR_OPERATOR(>>)
#undef VECTOR_OPERATOR

template <class T, int N>
vec<T, N> operator-(const vec<T, N>& a) {
  return vec<T, N>(T(0)) - a;
}

template <class To, class From>
To as_type(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

template <class T>
struct numeric_limits : std::numeric_limits<T> {};
template <>
struct numeric_limits<half> {
  static constexpr half max() { return half(65504.0f); }
  static constexpr half lowest() { return half(-65504.0f); }
  static constexpr half infinity() { return half(__builtin_inff()); }
};
template <>
struct numeric_limits<bfloat> {
  static constexpr bfloat max() { return bfloat(3.38953139e38f); }
  static constexpr bfloat lowest() { return bfloat(-3.38953139e38f); }
  static constexpr bfloat infinity() { return bfloat(__builtin_inff()); }
};

}  // namespace metal

#define VECTOR_NAMES(type)             \
  typedef metal::vec<type, 2> type##2; \
  typedef metal::vec<type, 3> type##3; \
  typedef metal::vec<type, 4> type##4;
VECTOR_NAMES(char)
VECTOR_NAMES(uchar)
VECTOR_NAMES(short)
VECTOR_NAMES(ushort)
VECTOR_NAMES(int)
VECTOR_NAMES(uint)
VECTOR_NAMES(long)
VECTOR_NAMES(ulong)
VECTOR_NAMES(half)
VECTOR_NAMES(bfloat)
VECTOR_NAMES(float)
#undef VECTOR_NAMES

#undef INFINITY
#undef NAN
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX 3.402823466e38f
#define M_PI_F 3.14159265358979f
#define M_LOG2E_F 1.44269504088896f
#define M_LN2_F 0.693147180559945f
