// Turns the pairs (x[i], x[i + D/2]) of each head by the angle of its position. The result has tokens before heads in
// memory; the strides of x are the caller's, its heads are dense.

/// A thread for each pair, head and token. `sign` is 1, or -1 to turn back.
template <typename T>
kernel void rotary_turn(device const T* x [[buffer(0)]], device const float* cosines [[buffer(1)]],
                        device const float* sines [[buffer(2)]], device T* y [[buffer(3)]],
                        constant long& batch_stride [[buffer(4)]], constant long& head_stride [[buffer(5)]],
                        constant long& token_stride [[buffer(6)]], constant long& tokens [[buffer(7)]],
                        constant long& sign [[buffer(8)]], uint3 place [[thread_position_in_grid]],
                        uint3 grid [[threads_per_grid]]) {
  const long pair = place.x, head = place.y, half_width = grid.x, heads = grid.y;
  const long batch = long(place.z) / tokens, token = long(place.z) % tokens;
  device const T* from = x + batch * batch_stride + head * head_stride + token * token_stride + pair;
  device T* to = y + (long(place.z) * heads + head) * 2 * half_width + pair;
  const float cosine = cosines[token * half_width + pair], sine = float(sign) * sines[token * half_width + pair];
  const float first = float(from[0]), second = float(from[half_width]);
  to[0] = T(first * cosine - second * sine);
  to[half_width] = T(second * cosine + first * sine);
}

/// Root-mean-square norm of each head, then the turn: a simdgroup for each head and token.
template <typename T>
kernel void rms_norm_rotary(device const T* x [[buffer(0)]], device const float* gain [[buffer(1)]],
                            device const float* cosines [[buffer(2)]], device const float* sines [[buffer(3)]],
                            device T* y [[buffer(4)]], constant long& batch_stride [[buffer(5)]],
                            constant long& head_stride [[buffer(6)]], constant long& token_stride [[buffer(7)]],
                            constant long& tokens [[buffer(8)]], constant long& half_width [[buffer(9)]],
                            constant long& eps [[buffer(10)]], uint3 place [[thread_position_in_grid]],
                            uint3 grid [[threads_per_grid]], uint lane [[thread_index_in_simdgroup]]) {
  const long head = place.y, heads = grid.y, batch = long(place.z) / tokens, token = long(place.z) % tokens;
  device const T* from = x + batch * batch_stride + head * head_stride + token * token_stride;
  device T* to = y + (long(place.z) * heads + head) * 2 * half_width;
  float squares = 0;
  for (long i = lane; i < 2 * half_width; i += 32) squares += float(from[i]) * float(from[i]);
  const float inverse = rsqrt(simd_sum(squares) / float(2 * half_width) + real(eps));
  for (long i = lane; i < half_width; i += 32) {
    const float cosine = cosines[token * half_width + i], sine = sines[token * half_width + i];
    const float first = float(from[i]) * inverse * gain[i];
    const float second = float(from[half_width + i]) * inverse * gain[half_width + i];
    to[i] = T(first * cosine - second * sine);
    to[half_width + i] = T(second * cosine + first * sine);
  }
}

KERNELS(rotary_turn)
KERNELS(rms_norm_rotary)
