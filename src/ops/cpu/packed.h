#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cpu/moe.h"
#include "ops/cpu/packed_kernels.h"
#include "xinslm/ops/packed.h"
#include "xinslm/quant/formats.h"

namespace xinslm::cpu {

/// Rows of activations as products with packed weights take them.
struct ActivationRows {
  QuantizedRows quantized;
  const uint16_t* rounded;  // [rows, blocks * 32] bfloat16, or null: then no tiles are used
};

/// Rows of activations in 8 bits, in bfloat16 too where the processor multiplies tiles of it, and the memory they are
/// in. Rows that are multiplied together are a group.
class QuantizedBuffer {
 public:
  /// @param begin  group g has the rows [begin[g], begin[g + 1])
  QuantizedBuffer(const std::vector<int64_t>& begin, int64_t width);

  int64_t blocks() const { return blocks_; }
  /// A group's, from its first row.
  ActivationRows rows(int64_t first = 0) const;
  /// Row `row` from block `block`, a stretch's first, on, from `count` blocks of floats.
  void write(int64_t row, int64_t block, int64_t count, const float* x);
  /// Row `row` becomes row `source` of another buffer.
  void copy(int64_t row, const QuantizedBuffer& from, int64_t source);

 private:
  QuantizedRow row(int64_t row, int64_t block) const;

  int64_t blocks_, stretches_;
  std::vector<RowTile> tiles_;  // of each row
  // Each ends with one row more of a block: products read beyond the last.
  std::unique_ptr<int8_t[]> codes_;         // QuantizedRows of all groups, one after the other
  std::unique_ptr<StretchScale[]> scales_;
  std::unique_ptr<DotStart[]> starts_;
  std::unique_ptr<uint16_t[]> rounded_;     // [rows, width], or null
};

/// `rows` groups of one row.
std::vector<int64_t> each_alone(int64_t rows);

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

/// Columns of an expert's activations that are computed together: one stretch. The last unit may have fewer blocks.
inline constexpr int64_t unit_columns = quant_block * stretch_blocks;

/// Units of `width` columns.
inline int64_t units_of(int64_t width) {
  return (width + unit_columns - 1) / unit_columns;
}

/// Unit `unit` of an expert: two gate_up rows for each of its columns, their bias, swiglu, and act's rows
/// [first, first + count) from there on in 8 bits.
/// @param scratch  [count, 3 * unit_columns]
void gate_up_unit(const PackedExpertWeights& experts, int64_t expert, int64_t unit, const ActivationRows& x,
                  int64_t count, double swiglu_limit, float* scratch, QuantizedBuffer& act, int64_t first);

/// [N, H] of the type of x, dense.
at::Tensor packed_moe_forward(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                              const PackedExpertWeights& experts, double swiglu_limit);

at::Tensor packed_linear_forward(const at::Tensor& x, const Mxfp4Tensor& weight, const at::Tensor& bias);
at::Tensor packed_linear_forward(const at::Tensor& x, const Q8Tensor& weight, const at::Tensor& bias);

}  // namespace xinslm::cpu
