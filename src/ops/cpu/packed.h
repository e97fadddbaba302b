#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "ops/cpu/moe.h"
#include "ops/cpu/packed_kernels.h"
#include "xinslm/ops/packed.h"

namespace xinslm::cpu {

/// Rows of activations as products with packed weights take them.
struct ActivationRows {
  QuantizedRows quantized;
  const uint16_t* rounded;  // [rows, blocks * 32] bfloat16, or null: then no tiles are used
};

/// Rows of activations in 8 bits, and where the processor multiplies tiles in bfloat16, and the memory they lie in.
class QuantizedBuffer {
 public:
  QuantizedBuffer(int64_t rows, int64_t width);

  int64_t blocks() const { return blocks_; }
  ActivationRows rows(int64_t first = 0) const;
  /// Row `row` from block `block` on, from `count` blocks of floats.
  void write(int64_t row, int64_t block, int64_t count, const float* x);
  /// Row `row` becomes row `source` of another buffer.
  void copy(int64_t row, const QuantizedBuffer& from, int64_t source);

 private:
  int64_t blocks_;
  // With more rows than there are: products read beyond the last.
  std::unique_ptr<int8_t[]> codes_;      // [rows, width]
  std::unique_ptr<float[]> scales_;      // [rows, blocks]
  std::unique_ptr<DotStart[]> starts_;   // [rows, blocks]
  std::unique_ptr<uint16_t[]> rounded_;  // [rows, width], or null
};

/// Rows [16 * group, 16 * group + 16) of one matrix of a packed tensor in layout rows16, times `count` rows of x.
/// @param matrix  number of the matrix (expert); 0 where there is one
/// @param out     [count, 16], out_stride apart
void multiply_group(const Mxfp4Tensor& weight, int64_t matrix, int64_t group, const ActivationRows& x, int64_t count,
                    float* out, int64_t out_stride);
void multiply_group(const Q8Tensor& weight, int64_t matrix, int64_t group, const ActivationRows& x, int64_t count,
                    float* out, int64_t out_stride);

/// The same of an expert, in whichever form it is there.
void multiply_group(const ExpertMatrices& experts, int64_t expert, int64_t group, const ActivationRows& x,
                    int64_t count, float* out, int64_t out_stride);

/// Columns of activations that two groups of gate_up rows... give: one block.
inline constexpr int64_t unit_columns = 32;

/// Unit `unit` of an expert: gate_up rows [64 * unit, + 64), their bias, swiglu: act [count, 32] float.
/// @param scratch  [count, 64]
void gate_up_unit(const PackedExpertWeights& experts, int64_t expert, int64_t unit, const ActivationRows& x,
                  int64_t count, double swiglu_limit, float* scratch, float* act);

/// [N, H] of the type of x, dense.
at::Tensor packed_moe_forward(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                              const PackedExpertWeights& experts, double swiglu_limit);

at::Tensor packed_linear_forward(const at::Tensor& x, const Mxfp4Tensor& weight, const at::Tensor& bias);
at::Tensor packed_linear_forward(const at::Tensor& x, const Q8Tensor& weight, const at::Tensor& bias);

}  // namespace xinslm::cpu
