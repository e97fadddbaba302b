#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/mps/launch.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm::mps {

/// One matrix, or one for each expert, in a form that the kernels of product.metal read.
struct Matrix {
  const char* kind;           ///< "dense", "mxfp4" or "q8": part of the kernels' names
  at::Tensor values, scales;  ///< dense: [.., in, out] and undefined; packed, as in checkpoints: [.., out, in]
  int64_t count, in, out;
};

/// @param weight  [in, out] or [E, in, out]
Matrix matrix_of(const at::Tensor& weight);
/// @param weight  [out, in] or [E, out, in]; brought into the layout of checkpoints where it has another
Matrix matrix_of(const Mxfp4Tensor& weight);
Matrix matrix_of(const Q8Tensor& weight);

/// Contiguous, from a multiple of 16 bytes on: what kernels that read vectors take. Absent tensors stay so.
at::Tensor dense(const at::Tensor& x);

/// `x`, or in place of an absent tensor another one, which the kernel is told not to read.
inline const at::Tensor& or_any(const at::Tensor& x, const at::Tensor& any) {
  return x.defined() ? x : any;
}

/// The N * k choices of tokens sorted by expert, in the order of tokens within each: see sort_choices in moe.metal.
/// Never waited for.
struct SortedChoices {
  at::Tensor begin, choices, places, tiles;
  int64_t k = 0;
  int64_t count() const { return choices.size(0); }
};

/// @param chosen  [N, k] int64, N > 0
SortedChoices sort_choices(const at::Tensor& chosen, int64_t experts);

/// Which rows of x belong to the places of sorted choices.
enum class RowsOf { tokens, places };
/// x * matrix, or the gradient's way back, x * matrix^T.
enum class Direction { forward, backward };

/// What is multiplied: rows of x by the matrices of the experts that they are sorted by, or by the one matrix.
struct Grouping {
  const SortedChoices* sorted = nullptr;
  RowsOf rows = RowsOf::places;
};

/// @param x     [N, in], dense()
/// @param bias  [E, out] float32 or undefined
/// @return      [N or places, out], type of x
at::Tensor product(const at::Tensor& x, const Grouping& grouping, const Matrix& matrix, Direction direction,
                   const at::Tensor& bias);

/// Gradients of the experts' matrices: [E, rows, columns], left^T * right of each expert's places.
/// @param left   [N or places, rows], @param right [N or places, columns], dense() and of one type
at::Tensor outer_product(const at::Tensor& left, RowsOf left_rows, const at::Tensor& right, RowsOf right_rows,
                         const SortedChoices& sorted, int64_t experts);

struct GateUp {
  at::Tensor act;   ///< [places, I]
  at::Tensor kept;  ///< [places, 2I] what swiglu was taken of, if wanted
};
/// swiglu(x * gate_up + bias) of the places of sorted choices.
GateUp gate_up_product(const at::Tensor& x, const SortedChoices& sorted, const Matrix& gate_up, const at::Tensor& bias,
                       double swiglu_limit, bool keep);

/// A threadgroup of a kernel for few rows.
struct VectorGroup {
  int64_t threads, columns;  ///< columns of the result that it makes
};
void run_vector(Launch& launch, const VectorGroup& group, int64_t columns, int64_t rows);

}  // namespace xinslm::mps
