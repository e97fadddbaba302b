#include "ops/cpu/compact.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "ops/cpu/compact_kernels.h"
#include "ops/cpu/parallel.h"

namespace xinslm::cpu {
namespace {

void restore_row(const CompactBfloat16& matrix, int64_t row, uint16_t* to) {
  constexpr int64_t block = CompactBfloat16::block;
  const int64_t whole = matrix.width() / block, rest = matrix.width() % block;
  const uint8_t* from = matrix.row(row);
  compact_kernels().restore(from, matrix.table().data(), whole, to);
  if (rest > 0) {
    std::array<uint16_t, block> last;
    compact_kernels().restore(from + whole * CompactBfloat16::block_bytes, matrix.table().data(), 1, last.data());
    std::copy_n(last.begin(), rest, to + whole * block);
  }
  for (const auto& one : matrix.rare(row, row + 1)) to[one.column] = one.bits();
}

}  // namespace

void multiply_rows(const CompactBfloat16& matrix, int64_t begin, int64_t end, const float* x, float* out) {
  compact_kernels().times_vector(matrix.row(begin), matrix.table().data(), matrix.blocks(), end - begin, x,
                                 out + begin);
  for (const auto& [row, column, value] : matrix.rare(begin, end)) out[row] += value * x[column];
}

at::Tensor restore(const CompactBfloat16& matrix, int64_t begin, int64_t end) {
  const int64_t width = matrix.width();
  at::Tensor out = at::empty({end - begin, width}, at::kBFloat16);
  auto* to = static_cast<uint16_t*>(out.mutable_data_ptr());
  for_parts(end - begin, count_parts(end - begin, rows_per_thread(width)), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) restore_row(matrix, begin + row, to + row * width);
  });
  return out;
}

}  // namespace xinslm::cpu
