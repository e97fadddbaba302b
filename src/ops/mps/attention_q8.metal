// Attention over keys and values of 8 bits, and how heads become such.
#include "attention_forward.metal.h"

/// codes and scales of x [B, heads, T, D], a simdgroup each block of 32 values of a head: scale = largest magnitude / 127.
template <typename T>
kernel void quantize_heads(device const T* x [[buffer(0)]], device char* codes [[buffer(1)]],
                           device float* scales [[buffer(2)]], constant long& x_batch [[buffer(3)]],
                           constant long& x_head [[buffer(4)]], constant long& x_token [[buffer(5)]],
                           constant long& code_batch [[buffer(6)]], constant long& code_head [[buffer(7)]],
                           constant long& code_token [[buffer(8)]], constant long& heads [[buffer(9)]],
                           constant long& tokens [[buffer(10)]], uint2 place [[thread_position_in_grid]],
                           uint lane [[thread_index_in_simdgroup]]) {
  const long row = long(place.y), token = row % tokens, head = row / tokens % heads, batch = row / (tokens * heads);
  const float value = float(x[batch * x_batch + head * x_head + token * x_token + long(place.x)]);
  const float scale = simd_max(fabs(value)) / 127.0f;
  const bool is_valid = !simd_any(isnan(value));
  const long at = batch * code_batch + head * code_head + token * code_token + long(place.x);
  codes[at] = is_valid && scale > 0.0f ? char(rint(value * (1.0f / scale))) : char(0);
  if (lane == 0) scales[at / 32] = is_valid ? scale : NAN;
}

#define Q8(W, type)                                                                      \
  KERNEL_AS("attention_forward_q8_" #W "_8_" #type, attention_forward, type, char, W, 1) \
  KERNEL_AS("attention_forward_q8_" #W "_32_" #type, attention_forward, type, char, W, 4)
#define Q8_WIDTHS(type) Q8(32, type) Q8(64, type) Q8(128, type)

Q8_WIDTHS(float)
Q8_WIDTHS(half)
#if __METAL_VERSION__ >= 310
Q8_WIDTHS(bfloat)
#endif
KERNELS(quantize_heads)
