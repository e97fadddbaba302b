// Attention over keys and values of the type of the queries, and the joining of its shares.
#include "attention_forward.metal.h"

/// out [B, T, Q, D] from shares of the keys; a simdgroup each row.
template <typename T>
kernel void attention_combine(device const float* partial [[buffer(0)]], device const float* log_sum [[buffer(1)]],
                              device T* out [[buffer(2)]], constant long& splits [[buffer(3)]],
                              constant long& rows [[buffer(4)]], constant long& heads [[buffer(5)]],
                              constant long& queries [[buffer(6)]], constant long& width [[buffer(7)]],
                              uint2 place [[thread_position_in_grid]]) {
  const long row = long(place.y);  // (b T + t) Q + h
  const long head = row % heads, token = row / heads % queries, batch = row / (heads * queries);
  device const float* sums = log_sum + (batch * heads + head) * queries + token;
  float most = sums[0];
  for (long split = 1; split < splits; ++split) most = max(most, sums[split * rows]);
  float total = 0.0f;
  for (long split = 0; split < splits; ++split) total += fast::exp(sums[split * rows] - most);
  for (long column = long(place.x); column < width; column += 32) {
    float result = 0.0f;
    for (long split = 0; split < splits; ++split) {
      result += fast::exp(sums[split * rows] - most) * partial[(split * rows + row) * width + column];
    }
    out[row * width + column] = T(result / total);
  }
}

#define FORWARD(W, type)                                                              \
  KERNEL_AS("attention_forward_" #W "_8_" #type, attention_forward, type, type, W, 1) \
  KERNEL_AS("attention_forward_" #W "_32_" #type, attention_forward, type, type, W, 4)
#define FORWARD_WIDTHS(type) FORWARD(32, type) FORWARD(64, type) FORWARD(128, type)

FORWARD_WIDTHS(float)
FORWARD_WIDTHS(half)
#if __METAL_VERSION__ >= 310
FORWARD_WIDTHS(bfloat)
#endif
KERNELS(attention_combine)
