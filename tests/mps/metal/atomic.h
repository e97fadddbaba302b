#pragma once
#include "metal/functions.h"
#include "mps/running_kernel.h"

namespace metal {

enum memory_order { memory_order_relaxed };

/// Threads run one at a time, so a plain change is whole.
template <class T>
struct atomic {
  T value;
};
template <class T>
struct grain<atomic<T>> : grain<T> {};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;

template <class T>
void atomic_store_explicit(volatile atomic<T>* object, typename same<T>::type value, memory_order) {
  *const_cast<T*>(&object->value) = value;
}
template <class T>
__attribute__((no_sanitize_thread)) T atomic_load_explicit(const volatile atomic<T>* object, memory_order) {
  simulator::check_atomic(const_cast<T*>(&object->value), sizeof(T));
  return object->value;
}

#define ATOMIC_CHANGE(name, expression)                                                                            \
  template <class T>                                                                                               \
  __attribute__((no_sanitize_thread)) T name(volatile atomic<T>* object, typename same<T>::type b, memory_order) { \
    simulator::check_atomic(const_cast<T*>(&object->value), sizeof(T));                                            \
    const T a = object->value;                                                                                     \
    object->value = T(expression);                                                                                 \
    return a;                                                                                                      \
  }
ATOMIC_CHANGE(atomic_fetch_add_explicit, a + b)
ATOMIC_CHANGE(atomic_fetch_sub_explicit, a - b)
ATOMIC_CHANGE(atomic_fetch_max_explicit, max(a, b))
ATOMIC_CHANGE(atomic_fetch_min_explicit, min(a, b))
ATOMIC_CHANGE(atomic_fetch_or_explicit, a | b)
ATOMIC_CHANGE(atomic_fetch_and_explicit, a& b)
ATOMIC_CHANGE(atomic_exchange_explicit, b)
#undef ATOMIC_CHANGE

}  // namespace metal
using metal::atomic_float;
using metal::atomic_int;
using metal::atomic_uint;
