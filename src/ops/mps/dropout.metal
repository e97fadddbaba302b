// Sets elements to zero by a hash of their index (src/ops/dropout_key.h), and scales the rest.

inline uint mix_word(uint x) {
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ (x >> 16);
}

/// x and y begin at element `begin` of the tensor.
template <typename T>
kernel void dropout(device const T* x [[buffer(0)]], device T* y [[buffer(1)]], constant long& begin [[buffer(2)]],
                    constant long& first [[buffer(3)]], constant long& second [[buffer(4)]],
                    constant long& threshold [[buffer(5)]], constant long& scale [[buffer(6)]],
                    uint i [[thread_position_in_grid]]) {
  const long index = begin + long(i);
  const uint low = uint(index & 0xffffffff), high = uint(index >> 32);
  const uint word = mix_word(mix_word(low ^ uint(first)) + high * 0x9e3779b9u + uint(second));
  y[i] = word >= uint(threshold) ? T(float(x[i]) * real(scale)) : T(0);
}
KERNELS(dropout)
