#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace xinslm {

/// Chosen rows of a matrix: y[i] = x[places[i]]. The gradient of spread_rows().
/// @param x       [N, W]
/// @param places  [n] int64 in [0, N), rising, so that no row is taken twice
/// @return        [n, W]
/// @throws Error(usage) for other places (on a GPU they are not looked at)
at::Tensor take_rows(const at::Tensor& x, const at::Tensor& places);

/// Rows back to their places among `rows`, zeros elsewhere: y[places[i]] = x[i]. The gradient of take_rows().
/// @param x  [n, W]
/// @return   [rows, W]
at::Tensor spread_rows(const at::Tensor& x, const at::Tensor& places, int64_t rows);

}  // namespace xinslm
