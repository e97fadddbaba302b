#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Tokens whose scores exist at a time.
constexpr int64_t attend_tokens = 512;

/// One key-value head and the query heads that read it, for one new token and a stretch of the tokens before it.
/// Softmax sums of several stretches are put together with join_stretches().
struct AttendProblem {
  const float* query;         // [group, D], scaled
  const void* keys;           // [tokens, D] dense, of the StoredElement that indexes the member
  const void* values;         // the same
  const float* key_scales;    // [tokens] for int8
  const float* value_scales;  // the same
  int64_t tokens, group, head_dim;
  float* scores;   // scratch [group, attend_tokens]
  float* largest;  // [group] largest score, -inf without tokens
  float* total;    // [group] sum of exp(score - largest)
  float* mixed;    // [group, D] sum of exp(score - largest) * value
};

/// What keys and values are kept in.
enum StoredElement { stored_float32, stored_bfloat16, stored_float16, stored_int8, stored_elements };

/// What one token needs beyond products with packed weights: everything float unless void.
struct DecodeKernels {
  void (*attend[stored_elements])(const AttendProblem& problem);

  /// out [D] = softmax over all stretches, and over the sink's logit where it is given, of one query head.
  /// @param largest, total  [stretches], `stride` apart
  /// @param mixed           [stretches][D], `stride` * D apart
  void (*join_stretches)(const float* largest, const float* total, const float* mixed, int64_t stretches,
                         int64_t stride, const float* sink, int64_t head_dim, float* out);

  /// out [width] += x [height] * matrix [height, width], dense.
  void (*add_vector_times_matrix[2])(const float* x, const void* matrix, int64_t height, int64_t width, float* out);
};
XINSLM_DECLARE_KERNELS(DecodeKernels, decode_kernels)

}  // namespace xinslm
