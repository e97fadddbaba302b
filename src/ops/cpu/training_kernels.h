#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

struct CrossEntropyRow {
  int64_t target, vocabulary;
  float label_smoothing, softcap;
};

/// Indexed by the Element of the logits.
struct CrossEntropyKernels {
  /// Loss of one row; the logits [V] become its gradient. scratch [V]
  float (*loss_and_gradient[2])(void* logits, const CrossEntropyRow& row, float* scratch);
  /// Loss of one row; logits stay.
  float (*loss[2])(const void* logits, const CrossEntropyRow& row);
};
XINSLM_DECLARE_KERNELS(CrossEntropyKernels, cross_entropy_kernels)

/// One AdamW step with all that does not depend on the element worked out.
struct AdamWFactors {
  float gradient_scale;
  float beta1, rest1, beta2, rest2;  ///< rest = 1 - beta, rounded once
  float decay;                       ///< 1 - learning_rate * weight_decay
  float step_size;                   ///< learning_rate / (1 - beta1^t)
  float second_scale;                ///< 1 / (1 - beta2^t)
  float eps;
};

/// Indexed by the Element of the gradient.
struct OptimizerKernels {
  /// @param compute  bfloat16 copy to refresh, or null
  void (*adamw[2])(float* master, const void* gradient, float* first, float* second, uint16_t* compute, int64_t size,
                   const AdamWFactors& factors);
  double (*sum_of_squares[2])(const void* x, int64_t size);
};
XINSLM_DECLARE_KERNELS(OptimizerKernels, optimizer_kernels)

}  // namespace xinslm
