#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "xinslm/quant/compact_bfloat16.h"

namespace xinslm::cpu {

/// out [begin..end) = those rows * x, sums in float32.
/// @param x  [blocks * 64], zero beyond the matrix' width
void multiply_rows(const CompactBfloat16& matrix, int64_t begin, int64_t end, const float* x, float* out);

/// Rows [begin, end) again, bit for bit: [end - begin, in] bfloat16. On all threads.
at::Tensor restore(const CompactBfloat16& matrix, int64_t begin, int64_t end);

}  // namespace xinslm::cpu
