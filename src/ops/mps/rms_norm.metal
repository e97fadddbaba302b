// One threadgroup a row: y = x / sqrt(mean(x^2) + eps) * gain, and its gradients.

template <typename T>
kernel void rms_norm_forward(device const T* x [[buffer(0)]], device const float* gain [[buffer(1)]],
                             device T* y [[buffer(2)]], device float* inverse_rms [[buffer(3)]],
                             constant long& width [[buffer(4)]], constant long& eps_bits [[buffer(5)]],
                             uint row [[threadgroup_position_in_grid]],
                             uint thread_index [[thread_index_in_threadgroup]],
                             uint threads [[threads_per_threadgroup]],
                             uint simdgroup [[simdgroup_index_in_threadgroup]],
                             uint lane [[thread_index_in_simdgroup]],
                             uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[32];
  const long first = long(row) * width;
  float squares = 0;
  for (long i = thread_index; i < width; i += threads) {
    const float value = float(x[first + i]);
    squares += value * value;
  }
  const float sum = sum_of_group(squares, scratch, simdgroup, lane, simdgroups);
  const float inverse = rsqrt(sum / float(width) + real(eps_bits));
  if (thread_index == 0) inverse_rms[row] = inverse;
  for (long i = thread_index; i < width; i += threads) y[first + i] = T(float(x[first + i]) * inverse * gain[i]);
}

/// dx = r (g dy - x r^2 mean(g dy x)), r the inverse root mean square.
template <typename T>
kernel void rms_norm_backward(device const T* x [[buffer(0)]], device const float* gain [[buffer(1)]],
                              device const float* inverse_rms [[buffer(2)]], device const T* grad_y [[buffer(3)]],
                              device T* grad_x [[buffer(4)]], constant long& width [[buffer(5)]],
                              uint row [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]],
                              uint threads [[threads_per_threadgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[32];
  const long first = long(row) * width;
  float products = 0;
  for (long i = thread_index; i < width; i += threads) {
    products += gain[i] * float(grad_y[first + i]) * float(x[first + i]);
  }
  const float sum = sum_of_group(products, scratch, simdgroup, lane, simdgroups);
  const float inverse = inverse_rms[row], share = inverse * inverse * sum / float(width);
  for (long i = thread_index; i < width; i += threads) {
    grad_x[first + i] = T(inverse * (gain[i] * float(grad_y[first + i]) - float(x[first + i]) * share));
  }
}

/// Sums of dy x r over a stretch of rows, a thread for each column and stretch: partial is [stretches, width].
template <typename T>
kernel void rms_norm_gain(device const T* x [[buffer(0)]], device const float* inverse_rms [[buffer(1)]],
                          device const T* grad_y [[buffer(2)]], device float* partial [[buffer(3)]],
                          constant long& rows [[buffer(4)]], constant long& width [[buffer(5)]],
                          constant long& stretch [[buffer(6)]], uint2 place [[thread_position_in_grid]]) {
  const long begin = long(place.y) * stretch, end = begin + stretch < rows ? begin + stretch : rows;
  float sum = 0;
  for (long row = begin; row < end; ++row) {
    sum += float(grad_y[row * width + place.x]) * float(x[row * width + place.x]) * inverse_rms[row];
  }
  partial[long(place.y) * width + place.x] = sum;
}

KERNELS(rms_norm_forward)
KERNELS(rms_norm_backward)
KERNELS(rms_norm_gain)
