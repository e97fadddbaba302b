// In front of every library: what all kernels share.
#include <metal_stdlib>
using namespace metal;

#ifndef KERNEL_AS  // tests/mps has its own
/// Gives an instance of a kernel template the name the host asks for.
#define KERNEL_AS(name, function, ...) \
  template [[host_name(name)]] kernel decltype(function<__VA_ARGS__>) function<__VA_ARGS__>;
#endif

/// The kernels function_float, function_half and, where the language has it, function_bfloat.
#if __METAL_VERSION__ >= 310
#define KERNELS(function)                       \
  KERNEL_AS(#function "_float", function, float) \
  KERNEL_AS(#function "_half", function, half)   \
  KERNEL_AS(#function "_bfloat", function, bfloat)
#else
#define KERNELS(function)                       \
  KERNEL_AS(#function "_float", function, float) \
  KERNEL_AS(#function "_half", function, half)
#endif

/// An argument that the host gave as Launch::real.
inline float real(long bits) {
  return as_type<float>(int(bits));
}

/// Sum over the threads of a group, for each of them. `scratch` holds a float for each of up to 32 simdgroups; the next
/// use of it needs a barrier between.
inline float sum_of_group(float value, threadgroup float* scratch, uint simdgroup, uint lane, uint simdgroups) {
  value = simd_sum(value);
  if (simdgroups == 1) return value;
  if (lane == 0) scratch[simdgroup] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return simd_sum(lane < simdgroups ? scratch[lane] : 0.0f);
}
