// What surrounds LibTorch's matrix products: a few rows at once, as in decoding, and biases in float.

/// y[n, row] = weight[row] . x[n] + bias[row], a simdgroup for each row of the weight and up to four rows of x. Weights are
/// read once, by fours where `by_fours` is not 0: In is a multiple of four and all begin at such an address. The loops over
/// rows of x have a constant bound, so that the sums stay in registers.
template <typename T>
kernel void linear_few_rows(device const T* x [[buffer(0)]], device const T* weight [[buffer(1)]],
                            device const float* bias [[buffer(2)]], device T* y [[buffer(3)]],
                            constant long& in [[buffer(4)]], constant long& out [[buffer(5)]],
                            constant long& rows [[buffer(6)]], constant long& has_bias [[buffer(7)]],
                            constant long& by_fours [[buffer(8)]], uint i [[thread_position_in_grid]],
                            uint lane [[thread_index_in_simdgroup]]) {
  const long row = i / 32;
  device const T* w = weight + row * in;
  float sums[4] = {0, 0, 0, 0};
  if (by_fours != 0) {
    for (long k = 4 * long(lane); k < in; k += 128) {
      const float4 of_weight = float4(*(device const vec<T, 4>*)(w + k));
      for (long n = 0; n < 4; ++n) {
        if (n < rows) sums[n] += dot(of_weight, float4(*(device const vec<T, 4>*)(x + n * in + k)));
      }
    }
  } else {
    for (long k = lane; k < in; k += 32) {
      const float of_weight = float(w[k]);
      for (long n = 0; n < 4; ++n) {
        if (n < rows) sums[n] += of_weight * float(x[n * in + k]);
      }
    }
  }
  for (long n = 0; n < 4; ++n) {
    const float sum = simd_sum(sums[n]);
    if (lane == 0 && n < rows) y[n * out + row] = T(sum + (has_bias != 0 ? bias[row] : 0.0f));
  }
}

/// A thread for each element of y [rows, width].
template <typename T>
kernel void add_bias(device T* y [[buffer(0)]], device const float* bias [[buffer(1)]],
                     uint2 place [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  const long i = long(place.y) * grid.x + place.x;
  y[i] = T(float(y[i]) + bias[place.x]);
}

KERNELS(linear_few_rows)
KERNELS(add_bias)
