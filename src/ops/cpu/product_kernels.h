#pragma once
#include "ops/cpu/kernels.h"

namespace xinslm {

/// Products of bfloat16 matrices in tiles that stay in registers, for grouped_product.cpp. All null where the
/// instruction set has no product of bfloat16 pairs.
///
/// Both sides are packed as pairs of neighbouring values along k: of a left-hand matrix [m, k] a tile of tile_rows rows
/// is [steps][tile_stride] pairs, of a right-hand matrix [k, n] a panel of panel_columns columns is
/// [steps][panel_columns], with steps = (k + 1) / 2; zero beyond the matrix.
struct ProductKernels {
  static constexpr int64_t tile_rows = 14, tile_stride = 16, panel_columns = 32;

  /// A tile from `rows` <= tile_rows rows of a [m, k], `stride` apart; k is even.
  void (*pack_tile)(const void* a, int64_t stride, int64_t rows, int64_t k, void* tile);
  /// A tile of the transpose of a [k, m], from `rows` of its columns.
  void (*pack_tile_transposed)(const void* a, int64_t stride, int64_t rows, int64_t k, void* tile);
  /// A panel from `columns` <= panel_columns columns of b [k, n], its rows `stride` apart.
  void (*pack_panel)(const void* b, int64_t stride, int64_t k, int64_t columns, void* panel);
  /// A panel of the transpose of b [n, k], from `columns` of its rows; k is even.
  void (*pack_panel_transposed)(const void* b, int64_t stride, int64_t k, int64_t columns, void* panel);

  /// c [rows, columns], its rows c_stride apart, = tile * panel; sums in float32.
  void (*multiply)(const void* tile, const void* panel, int64_t steps, void* c, int64_t c_stride, int64_t rows,
                   int64_t columns);
};
XINSLM_DECLARE_KERNELS(ProductKernels, product_kernels)

}  // namespace xinslm
