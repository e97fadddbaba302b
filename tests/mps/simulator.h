#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mps/running_kernel.h"

// Runs Metal kernels, compiled as C++ by translate.cpp's rules, on the processor: one threadgroup after the other, the
// threads of a group as fibres that switch at barriers and at what a simdgroup does together. Sees every access to
// memory (access.cpp) and stops a launch at the first that is wrong.
namespace simulator {

struct Size3 {
  uint64_t x = 1, y = 1, z = 1;
};

/// What a kernel parameter is bound to.
struct Argument {
  enum Kind { none, buffer, integer } kind = none;
  void* begin = nullptr;  ///< of a buffer
  size_t bytes = 0;
  int64_t value = 0;  ///< of an integer
};

struct Kernel {
  std::string library, name;
  std::vector<Parameter> parameters;
  void (*run)();  ///< calls the function with the parameters of the running thread
};

/// nullptr when there is none.
const Kernel* find_kernel(const std::string& library, const std::string& name);
bool has_library(const std::string& library);

/// Ends the launch with this message; on the fibre of a thread as well as outside.
[[noreturn]] void fail(const std::string& what);

/// Runs a grid of `threads` threads in groups of `group`; arguments by buffer index.
/// @throws std::runtime_error naming kernel, thread and place when the kernel reads or writes outside of its buffers
/// and arrays, when two threads use the same memory with no barrier between, when threads do not arrive at a barrier
/// together, and when the launch does not fit the kernel
void launch(const Kernel& kernel, const std::vector<Argument>& arguments, Size3 threads, Size3 group);

}  // namespace simulator
