#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Rows of one expert, in sorted order; `bias` pointers may be null.
struct MoeKernels {
  /// act [rows, I] = swiglu(gate_up [rows, 2I] + bias [2I])
  void (*swiglu[2])(const void* gate_up, const float* bias, double limit, void* act, int64_t rows, int64_t width);

  /// Gradient of swiglu, for a gradient of its output that still lacks the row's routing weight.
  ///
  /// @param weights       [rows], or null for ones
  /// @param grad_act      [rows, I]
  /// @param weighted_act  [rows, I] weight * act, may be null; may not overlap grad_act
  /// @param grad_gate_up  [rows, 2I]
  /// @param grad_weights  [rows] += grad_act * act, may be null
  /// @param grad_bias     [2, I] += the rows' gradients, gates before linear parts; may be null
  void (*swiglu_backward[2])(const void* gate_up, const float* bias, double limit, const float* weights,
                             const void* grad_act, void* weighted_act, void* grad_gate_up, float* grad_weights,
                             float* grad_bias, int64_t rows, int64_t width);

  /// rows [i] = grad [tokens[i]]; grad_weights[i] = rows[i] * bias; grad_bias += weights[i] * rows[i].
  void (*gather_grad[2])(const void* grad, const int64_t* tokens, const float* weights, const float* bias, void* rows,
                         float* grad_weights, float* grad_bias, int64_t count, int64_t width);

  /// One token: out [width] = sum over its k choices of weights[j] * (y[places[j]] + bias[experts[j]]), in their order.
  /// @param weights  [k], or null for ones
  /// @param bias     [E, width], or null
  /// @param scratch  [width]
  void (*combine[2])(const void* y, const int64_t* places, const float* weights, const int64_t* experts,
                     const float* bias, int64_t k, int64_t width, float* scratch, void* out);
};
XINSLM_DECLARE_KERNELS(MoeKernels, moe_kernels)

}  // namespace xinslm
