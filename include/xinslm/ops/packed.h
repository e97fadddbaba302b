#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "xinslm/ops/moe.h"
#include "xinslm/quant/expert_matrices.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// x * weight^T + bias with weights that stay packed. On the processor activations are rounded to 8 bits in blocks of
/// 32 (largest error of a value: 1/254 of the largest in its block), integers are summed exactly within a block and
/// blocks in float32. Apple's GPU rounds nothing but weights that float16 activations have no equal for. The gradient
/// of x is that of the weights' exact values; the weights have none.
///
/// @param x       [..., in] float32 or bfloat16
/// @param weight  [rows, in]
/// @param bias    [rows] float32 or undefined
/// @return        [..., rows], type of x
/// @throws Error(usage) on sizes that do not fit
at::Tensor packed_linear(const at::Tensor& x, const c10::intrusive_ptr<Mxfp4Tensor>& weight, const at::Tensor& bias);
at::Tensor packed_linear(const at::Tensor& x, const c10::intrusive_ptr<Q8Tensor>& weight, const at::Tensor& bias);

/// Rows of a packed matrix decoded, as an embedding looks them up. No gradients.
/// @param weight  [rows, in]
/// @param tokens  [...] int64 in [0, rows), not checked
/// @param type    float32, float16 or bfloat16
/// @return        [..., in], where the weight is
at::Tensor packed_embedding(const c10::intrusive_ptr<Q8Tensor>& weight, const at::Tensor& tokens, at::ScalarType type);

struct PackedExpertWeights {
  std::shared_ptr<ExpertMatrices> gate_up;  ///< [E, 2I, H]: even rows gate, odd rows linear (gpt-oss checkpoints)
  at::Tensor gate_up_bias;                  ///< [E, 2I] float32 or undefined
  std::shared_ptr<ExpertMatrices> down;     ///< [E, H, I]
  at::Tensor down_bias;                     ///< [E, H] float32 or undefined
};

/// moe_experts() with packed weights; what packed_linear() says about rounding and gradients goes for both products.
/// Routing weights get their gradient.
at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                       double swiglu_limit);
/// The same in exact arithmetic: the weights decoded, then moe_experts_ref().
at::Tensor moe_experts_ref(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                           double swiglu_limit);

}  // namespace xinslm
