// Kernels are compiled with -fsanitize=thread, which puts a call in front of every access to memory, and
// -fsanitize=bounds,alignment, which does so where an index or an address is wrong. The calls end here instead of in
// the sanitizers' libraries, which this program is not linked with.
#include <cstring>

#include "mps/memory.h"
#include "mps/simulator.h"

using simulator::is_running;
using simulator::memory;
using simulator::running;

/// Inlined, so that the address it notes is in the kernel.
[[gnu::always_inline]] static inline bool is_seen() {
  running.instruction = __builtin_return_address(0);
  return is_running;
}

#define ACCESS(size)                               \
  void __tsan_read##size(void* place) {            \
    if (is_seen()) memory.read(place, size);       \
  }                                                \
  void __tsan_write##size(void* place) {           \
    if (is_seen()) memory.write(place, size);      \
  }                                                \
  void __tsan_unaligned_read##size(void* place) {  \
    if (is_seen()) memory.read(place, size);       \
  }                                                \
  void __tsan_unaligned_write##size(void* place) { \
    if (is_seen()) memory.write(place, size);      \
  }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void* place, size_t bytes) {
  if (is_seen()) memory.read(place, bytes);
}
void __tsan_write_range(void* place, size_t bytes) {
  if (is_seen()) memory.write(place, bytes);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

void __ubsan_handle_out_of_bounds(void*, void* index) {
  if (is_seen()) simulator::fail("indexes an array with " + std::to_string(intptr_t(index)) + ", outside of it");
}
void __ubsan_handle_type_mismatch_v1(void*, void*) {
  if (is_seen()) simulator::fail("uses an address that is not aligned for its type");
}
}
