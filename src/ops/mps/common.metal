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

/// Values of FP4 (E2M1) by code: OCP Microscaling Formats v1.0, section 5.3.3.
constant float fp4_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                 -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/// 2^(scale - 127). A scale of 0, which float has no normal number for, gives 0; 255 (NaN) is refused on loading.
inline float e8m0_value(uchar scale) {
  return as_type<float>(uint(scale) << 23);
}

/// Clamped SwiGLU where limit > 0, else SiLU times the linear part. Comparisons let NaN through, min and max would not.
inline float swiglu_value(float gate, float linear, float limit) {
  if (limit <= 0) return gate / (1.0f + exp(-gate)) * linear;
  gate = gate > limit ? limit : gate;
  linear = linear > limit ? limit : (linear < -limit ? -limit : linear);
  return gate / (1.0f + exp(-1.702f * gate)) * (linear + 1.0f);
}
