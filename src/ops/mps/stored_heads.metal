// New keys and values at their places in a cache: place.z is 0 for keys, 1 for values; place.y (b K + k) T + t. Both
// places have the same strides.

template <typename T>
kernel void store_heads(device const T* keys [[buffer(0)]], device const T* values [[buffer(1)]],
                        device T* key_place [[buffer(2)]], device T* value_place [[buffer(3)]],
                        constant long& key_batch [[buffer(4)]], constant long& key_head [[buffer(5)]],
                        constant long& key_token [[buffer(6)]], constant long& value_batch [[buffer(7)]],
                        constant long& value_head [[buffer(8)]], constant long& value_token [[buffer(9)]],
                        constant long& place_batch [[buffer(10)]], constant long& place_head [[buffer(11)]],
                        constant long& place_token [[buffer(12)]], constant long& heads [[buffer(13)]],
                        constant long& tokens [[buffer(14)]], uint3 place [[thread_position_in_grid]]) {
  const long row = long(place.y), token = row % tokens, head = row / tokens % heads, batch = row / (tokens * heads);
  const long to = batch * place_batch + head * place_head + token * place_token + long(place.x);
  if (place.z == 0) {
    key_place[to] = keys[batch * key_batch + head * key_head + token * key_token + long(place.x)];
  } else {
    value_place[to] = values[batch * value_batch + head * value_head + token * value_token + long(place.x)];
  }
}

/// The same in 8 bits: a simdgroup each row of a head, whose scale is its largest magnitude / 127. Scales lie as the
/// rows do.
template <typename T>
kernel void quantize_heads(device const T* keys [[buffer(0)]], device const T* values [[buffer(1)]],
                           device char* key_place [[buffer(2)]], device char* value_place [[buffer(3)]],
                           constant long& key_batch [[buffer(4)]], constant long& key_head [[buffer(5)]],
                           constant long& key_token [[buffer(6)]], constant long& value_batch [[buffer(7)]],
                           constant long& value_head [[buffer(8)]], constant long& value_token [[buffer(9)]],
                           constant long& place_batch [[buffer(10)]], constant long& place_head [[buffer(11)]],
                           constant long& place_token [[buffer(12)]], constant long& heads [[buffer(13)]],
                           constant long& tokens [[buffer(14)]], constant long& width [[buffer(15)]],
                           device float* key_scales [[buffer(16)]], device float* value_scales [[buffer(17)]],
                           uint3 place [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  const long row = long(place.y), token = row % tokens, head = row / tokens % heads, batch = row / (tokens * heads);
  const long to = batch * place_batch + head * place_head + token * place_token;
  const bool is_key = place.z == 0;
  device const T* from = is_key ? keys + batch * key_batch + head * key_head + token * key_token
                                : values + batch * value_batch + head * value_head + token * value_token;
  float largest = 0.0f;
  bool is_number = true;
  for (long i = long(lane); i < width; i += 32) {
    largest = max(largest, fabs(float(from[i])));
    is_number = is_number && !isnan(float(from[i]));
  }
  const float most = simd_max(largest), scale = simd_any(!is_number) ? NAN : most / 127.0f;
  const float inverse = most > 7.9e-31f ? 127.0f / most : 0.0f;  // below, where it could be infinite, are zeros
  device char* codes = (is_key ? key_place : value_place) + to;
  for (long i = long(lane); i < width; i += 32) {
    codes[i] = char(rint(float(from[i]) * inverse));
  }
  if (lane == 0) (is_key ? key_scales : value_scales)[to / width] = scale;
}

KERNELS(store_heads)
KERNELS(quantize_heads)
