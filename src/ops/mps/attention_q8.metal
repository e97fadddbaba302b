// Attention over keys and values of 8 bits.
#include "attention_forward.metal.h"

#define Q8(W, type)                                                                      \
  KERNEL_AS("attention_forward_q8_" #W "_8_" #type, attention_forward, type, char, W, 1) \
  KERNEL_AS("attention_forward_q8_" #W "_32_" #type, attention_forward, type, char, W, 4)
#define Q8_WIDTHS(type) Q8(32, type) Q8(64, type) Q8(128, type)

Q8_WIDTHS(float)
Q8_WIDTHS(half)
#if __METAL_VERSION__ >= 310
Q8_WIDTHS(bfloat)
#endif
