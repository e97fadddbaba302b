#pragma once
#include "metal/functions.h"
#include "mps/running_kernel.h"

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) {
  return mem_flags(int(a) | int(b));
}
constexpr bool holds(mem_flags set, mem_flags one) {
  return (int(set) & int(one)) != 0;
}
inline void threadgroup_barrier(mem_flags flags) {
  simulator::barrier(simulator::Scope::group, holds(flags, mem_flags::mem_device),
                     holds(flags, mem_flags::mem_threadgroup));
}
inline void simdgroup_barrier(mem_flags flags) {
  simulator::barrier(simulator::Scope::simd, holds(flags, mem_flags::mem_device),
                     holds(flags, mem_flags::mem_threadgroup));
}

namespace simd {

template <class T>
T& at(char (*slots)[64], int lane) {
  return *reinterpret_cast<T*>(slots[lane]);
}

/// One result for all: `Fold` of the active lanes, from the first to the last.
template <class T, class Fold>
void fold(simulator::Exchange& e, int) {
  T all = T();
  bool is_first = true;
  for (int lane = 0; lane < simulator::lanes; ++lane) {
    if (!e.has(lane)) continue;
    all = is_first ? at<T>(e.in, lane) : Fold::of(all, at<T>(e.in, lane));
    is_first = false;
  }
  for (int lane = 0; lane < simulator::lanes; ++lane) at<T>(e.out, lane) = all;
}

/// Sums of the lanes before, with the own one when `inclusive`.
template <class T>
void prefix(simulator::Exchange& e, int inclusive) {
  T sum = T(0);
  for (int lane = 0; lane < simulator::lanes; ++lane) {
    if (!e.has(lane)) continue;
    const T next = T(sum + at<T>(e.in, lane));
    at<T>(e.out, lane) = inclusive ? next : sum;
    sum = next;
  }
}

template <class T>
struct From {
  T value;
  int lane;
};
template <class T>
void shuffle(simulator::Exchange& e, int) {
  for (int lane = 0; lane < simulator::lanes; ++lane) {
    if (!e.has(lane)) continue;
    const int from = at<From<T>>(e.in, lane).lane;
    if (!e.has(from)) simulator::fail("takes the value of a lane that takes no part in the shuffle");
    at<T>(e.out, lane) = at<From<T>>(e.in, from).value;
  }
}

template <class T>
T exchanged(const char* what, T value, simulator::Combine combine, int detail = 0) {
  static_assert(sizeof(T) <= 64, "larger than a slot");
  T result;
  simulator::exchange(what, &value, sizeof(T), &result, sizeof(T), combine, detail);
  return result;
}
template <class T>
T shuffled(const char* what, T value, int from) {
  const From<T> asked{value, from};
  T result;
  simulator::exchange(what, &asked, sizeof(asked), &result, sizeof(T), shuffle<T>);
  return result;
}

#define FOLD(name, expression)            \
  struct name {                           \
    template <class T>                    \
    static T of(const T& a, const T& b) { \
      return T(expression);               \
    }                                     \
  };
FOLD(Sum, a + b)
FOLD(Product, a* b)
FOLD(Max, max(a, b))
FOLD(Min, min(a, b))
FOLD(And, a& b)
FOLD(Or, a | b)
FOLD(Xor, a ^ b)
#undef FOLD

}  // namespace simd

#define SIMD_FOLD(name, Fold)                                        \
  template <class T>                                                 \
  T name(T value) {                                                  \
    return simd::exchanged(#name, value, simd::fold<T, simd::Fold>); \
  }
SIMD_FOLD(simd_sum, Sum)
SIMD_FOLD(simd_product, Product)
SIMD_FOLD(simd_max, Max)
SIMD_FOLD(simd_min, Min)
SIMD_FOLD(simd_and, And)
SIMD_FOLD(simd_or, Or)
SIMD_FOLD(simd_xor, Xor)
#undef SIMD_FOLD
inline bool simd_any(bool value) {
  return simd_or(int(value)) != 0;
}
inline bool simd_all(bool value) {
  return simd_and(int(value)) != 0;
}
template <class T>
T simd_prefix_inclusive_sum(T value) {
  return simd::exchanged("simd_prefix_inclusive_sum", value, simd::prefix<T>, 1);
}
template <class T>
T simd_prefix_exclusive_sum(T value) {
  return simd::exchanged("simd_prefix_exclusive_sum", value, simd::prefix<T>, 0);
}

template <class T>
T simd_shuffle(T value, ushort lane) {
  return simd::shuffled("simd_shuffle", value, lane);
}
template <class T>
T simd_broadcast(T value, ushort lane) {
  return simd::shuffled("simd_broadcast", value, lane);
}
template <class T>
T simd_shuffle_xor(T value, ushort mask) {
  return simd::shuffled("simd_shuffle_xor", value, simulator::lane() ^ mask);
}
/// The last `delta` lanes keep their own value.
template <class T>
T simd_shuffle_down(T value, ushort delta) {
  const int from = simulator::lane() + delta;
  return simd::shuffled("simd_shuffle_down", value, from < simulator::lanes ? from : simulator::lane());
}
/// The first `delta` lanes keep their own value.
template <class T>
T simd_shuffle_up(T value, ushort delta) {
  const int from = simulator::lane() - delta;
  return simd::shuffled("simd_shuffle_up", value, from >= 0 ? from : simulator::lane());
}
template <class T>
T simd_broadcast_first(T value) {
  struct First {
    static void of(simulator::Exchange& e, int) {
      int first = 0;
      while (!e.has(first)) ++first;
      for (int lane = 0; lane < simulator::lanes; ++lane) simd::at<T>(e.out, lane) = simd::at<T>(e.in, first);
    }
  };
  return simd::exchanged("simd_broadcast_first", value, First::of);
}
inline bool simd_is_first() {
  return simd_broadcast_first(simulator::lane()) == simulator::lane();
}

}  // namespace metal
