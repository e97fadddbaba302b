#pragma once
#include <utility>

#include "metal/types.h"
#include "mps/running_kernel.h"

// Makes a function with the parameters of a Metal kernel callable by name.
namespace simulator {

/// The value of a parameter for the running thread: by its type where it is a buffer, else by its attribute.
template <class T>
struct Bound {
  static T of(const Parameter* parameter, int) { return T(position(parameter->attribute).x); }
};
template <class T>
struct Bound<T*> {
  static T* of(const Parameter*, int index) { return static_cast<T*>(bound(index)); }
};
template <class T>
struct Bound<T&> {
  static T& of(const Parameter*, int index) {
    static_assert(sizeof(T) == 8, "the host gives integers of 64 bits: constant long&");
    return *static_cast<T*>(bound(index));
  }
};
template <class T>
struct Bound<metal::vec<T, 2>> {
  static metal::vec<T, 2> of(const Parameter* parameter, int) {
    const Position p = position(parameter->attribute);
    return {T(p.x), T(p.y)};
  }
};
template <class T>
struct Bound<metal::vec<T, 3>> {
  static metal::vec<T, 3> of(const Parameter* parameter, int) {
    const Position p = position(parameter->attribute);
    return {T(p.x), T(p.y), T(p.z)};
  }
};

template <class... P, std::size_t... I>
void call(void (*function)(P...), const Parameter* parameters, std::index_sequence<I...>) {
  function(Bound<P>::of(parameters + I, int(I))...);
}
template <class... P>
void call(void (*function)(P...), const Parameter* parameters) {
  call(function, parameters, std::index_sequence_for<P...>());
}

}  // namespace simulator

#define JOINED_(a, b) a##b
#define JOINED(a, b) JOINED_(a, b)
#define REGISTERED(name, function, ...)                                                                        \
  static const simulator::Registration JOINED(registration_, __COUNTER__)(                                     \
      library_name, name, function##_parameters, sizeof(function##_parameters) / sizeof(simulator::Parameter), \
      [] { simulator::call(&__VA_ARGS__, function##_parameters); });
#define KERNEL_AS(name, function, ...) REGISTERED(name, function, function<__VA_ARGS__>)
#define PLAIN_KERNEL(function) REGISTERED(#function, function, function)
