#include "ops/mps/product.h"

#include <ATen/ATen.h>

#include "xinslm/core/error.h"

namespace xinslm::mps {
namespace {

// As in product.metal.
constexpr int64_t tile_rows = 32, tile_columns = 64, tile_threads = 128;
constexpr int64_t sort_threads = 256;  // as in moe.metal

int64_t pieces(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

uint64_t size_of(int64_t value) {
  return static_cast<uint64_t>(value);
}

template <class Packed>
Matrix packed_matrix(const Packed& weight, const char* kind) {
  const auto plain = weight.repack(PackedLayout::checkpoint);
  const auto& sizes = plain->sizes();
  return {kind,         dense(plain->values()), dense(plain->scales()), sizes.size() == 3 ? sizes[0] : 1,
          sizes.back(), sizes[sizes.size() - 2]};
}

/// Tokens' rows are found through choice / k, places' rows directly: k is 0 then.
int64_t divisor(RowsOf rows, const SortedChoices& sorted) {
  return rows == RowsOf::tokens ? sorted.k : 0;
}

/// A threadgroup for each tile there may be, along rows first.
void run_tiles(Launch& launch, int64_t tiles, int64_t columns) {
  launch.run({size_of(tiles * tile_threads), size_of(pieces(columns, tile_columns))}, {size_of(tile_threads)});
}

}  // namespace

Matrix matrix_of(const at::Tensor& weight) {
  return {"dense", dense(weight), {}, weight.dim() == 3 ? weight.size(0) : 1, weight.size(-2), weight.size(-1)};
}

Matrix matrix_of(const Mxfp4Tensor& weight) {
  return packed_matrix(weight, "mxfp4");
}

Matrix matrix_of(const Q8Tensor& weight) {
  return packed_matrix(weight, "q8");
}

at::Tensor dense(const at::Tensor& x) {
  constexpr uintptr_t alignment = 16;  // on MPS a data pointer is that of the buffer's object plus the offset
  if (!x.defined()) return x;
  const at::Tensor y = x.contiguous();
  return reinterpret_cast<uintptr_t>(y.const_data_ptr()) % alignment == 0 ? y : y.clone();
}

SortedChoices sort_choices(const at::Tensor& chosen, int64_t experts) {
  const auto options = chosen.options().dtype(at::kInt);
  const at::Tensor flat = dense(chosen);
  const int64_t count = chosen.numel();
  const SortedChoices sorted{at::empty({experts + 1}, options), at::empty({count}, options),
                             at::empty({count}, options), at::empty({count / tile_rows + experts, 4}, options),
                             chosen.size(1)};
  Launch launch("moe", "sort_choices");
  launch.tensor(flat).tensor(sorted.begin).tensor(sorted.choices).tensor(sorted.places).tensor(sorted.tiles);
  launch.integer(count).integer(experts).integer(tile_rows);
  launch.run({size_of(experts * sort_threads)}, {size_of(sort_threads)});
  return sorted;
}

at::Tensor product(const at::Tensor& x, const Grouping& grouping, const Matrix& matrix, Direction direction,
                   const at::Tensor& bias) {
  const bool forward = direction == Direction::forward, transposed = forward == matrix.scales.defined();
  const SortedChoices* sorted = grouping.sorted;
  const int64_t columns = forward ? matrix.out : matrix.in, terms = forward ? matrix.in : matrix.out;
  const int64_t rows = sorted != nullptr ? sorted->count() : x.size(0);
  const at::Tensor out = at::empty({rows, columns}, x.options());
  Launch launch("product", cat("product_", transposed ? "transposed_" : "", matrix.kind, "_", suffix(x)));
  launch.tensor(x).tensor(sorted ? sorted->choices : x).tensor(sorted ? sorted->tiles : x);
  launch.tensor(matrix.values).tensor(or_any(matrix.scales, matrix.values)).tensor(or_any(bias, x)).tensor(out);
  launch.integer(sorted ? divisor(grouping.rows, *sorted) : 0).integer(sorted != nullptr).integer(bias.defined());
  launch.integer(rows).integer(columns).integer(terms);
  run_tiles(launch, sorted ? sorted->tiles.size(0) : pieces(rows, tile_rows), columns);
  return out;
}

at::Tensor outer_product(const at::Tensor& left, RowsOf left_rows, const at::Tensor& right, RowsOf right_rows,
                         const SortedChoices& sorted, int64_t experts) {
  const int64_t rows = left.size(1), columns = right.size(1);
  const at::Tensor out = at::empty({experts, rows, columns}, left.options());
  Launch launch("product", cat("outer_product_", suffix(left)));
  launch.tensor(left).tensor(right).tensor(sorted.choices).tensor(sorted.begin).tensor(out);
  launch.integer(divisor(left_rows, sorted)).integer(divisor(right_rows, sorted)).integer(rows).integer(columns);
  launch.run(
      {size_of(pieces(rows, tile_rows) * tile_threads), size_of(pieces(columns, tile_columns)), size_of(experts)},
      {size_of(tile_threads)});
  return out;
}

GateUp gate_up_product(const at::Tensor& x, const SortedChoices& sorted, const Matrix& gate_up, const at::Tensor& bias,
                       double swiglu_limit, bool keep) {
  GateUp result{at::empty({sorted.count(), gate_up.out / 2}, x.options()), {}};
  if (keep) result.kept = at::empty({sorted.count(), gate_up.out}, x.options());
  Launch launch("product", cat("gate_up_", gate_up.kind, "_", suffix(x)));
  launch.tensor(x).tensor(sorted.choices).tensor(sorted.tiles);
  launch.tensor(gate_up.values).tensor(or_any(gate_up.scales, gate_up.values)).tensor(or_any(bias, x));
  launch.tensor(result.act).tensor(or_any(result.kept, result.act));
  launch.integer(sorted.k).integer(bias.defined()).integer(keep).integer(gate_up.out).integer(gate_up.in);
  launch.real(swiglu_limit);
  run_tiles(launch, sorted.tiles.size(0), gate_up.out);
  return result;
}

void run_vector(Launch& launch, const VectorGroup& group, int64_t columns, int64_t rows) {
  launch.run({size_of(pieces(columns, group.columns) * group.threads), size_of(rows)}, {size_of(group.threads)});
}

}  // namespace xinslm::mps
