// The optimiser: one decoupled AdamW step, and sums of squares.

/// A thread for each weight. The factors are those of AdamWFactors. `compute` is a copy of the weights in the type of the
/// model, written if `copies` is not 0.
template <typename Gradient, typename Compute>
kernel void adamw_step(device float* master [[buffer(0)]], device const Gradient* gradient [[buffer(1)]],
                       device float* first [[buffer(2)]], device float* second [[buffer(3)]],
                       device Compute* compute [[buffer(4)]], constant long& copies [[buffer(5)]],
                       constant long& gradient_scale [[buffer(6)]], constant long& beta1 [[buffer(7)]],
                       constant long& rest1 [[buffer(8)]], constant long& beta2 [[buffer(9)]],
                       constant long& rest2 [[buffer(10)]], constant long& decay [[buffer(11)]],
                       constant long& step_size [[buffer(12)]], constant long& second_scale [[buffer(13)]],
                       constant long& eps [[buffer(14)]], uint i [[thread_position_in_grid]]) {
  const float g = float(gradient[i]) * real(gradient_scale);
  const float m = first[i] * real(beta1) + g * real(rest1);
  const float v = second[i] * real(beta2) + g * g * real(rest2);
  const float w = master[i] * real(decay) - real(step_size) * (m / (sqrt(v * real(second_scale)) + real(eps)));
  first[i] = m;
  second[i] = v;
  master[i] = w;
  if (copies != 0) compute[i] = Compute(w);
}
KERNEL_AS("adamw_step_float_float", adamw_step, float, float)
KERNEL_AS("adamw_step_float_half", adamw_step, float, half)
KERNEL_AS("adamw_step_half_half", adamw_step, half, half)
KERNEL_AS("adamw_step_half_float", adamw_step, half, float)
#if __METAL_VERSION__ >= 310
KERNEL_AS("adamw_step_float_bfloat", adamw_step, float, bfloat)
KERNEL_AS("adamw_step_bfloat_bfloat", adamw_step, bfloat, bfloat)
KERNEL_AS("adamw_step_bfloat_float", adamw_step, bfloat, float)
#endif

/// Each group sums the squares of a stretch of x: sums is [groups].
template <typename T>
kernel void sum_of_squares(device const T* x [[buffer(0)]], device float* sums [[buffer(1)]],
                           constant long& size [[buffer(2)]], constant long& stretch [[buffer(3)]],
                           uint group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                           uint threads [[threads_per_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[32];
  const long begin = long(group) * stretch, end = begin + stretch < size ? begin + stretch : size;
  float squares = 0;
  for (long i = begin + thread_index; i < end; i += threads) squares += float(x[i]) * float(x[i]);
  const float sum = sum_of_group(squares, scratch, simdgroup, lane, simdgroups);
  if (thread_index == 0) sums[group] = sum;
}
KERNELS(sum_of_squares)
