#include "xinslm/ops/compact.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "ops/checks.h"
#include "ops/cpu/compact.h"
#include "ops/cpu/parallel.h"
#include "xinslm/ops/linear.h"

namespace xinslm {
namespace {

void check(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias) {
  require(!weight.empty() && x.dim() > 0 && x.size(-1) == weight.width(), "compact_linear: x is ", x.sizes(),
          ", weight ", at::IntArrayRef{weight.rows(), weight.width()}, "; the last sizes must agree");
  require(x.is_cpu() && x.scalar_type() == at::kBFloat16, "compact_linear: x is ", x.scalar_type(), " on ", x.device(),
          "; expected bfloat16 on the processor");
  require(!bias.defined() || bias.sizes() == at::IntArrayRef{weight.rows()}, "compact_linear: weight has ",
          weight.rows(), " rows, bias is ", bias.defined() ? bias.sizes() : at::IntArrayRef{},
          "; expected one for each row");
}

/// [N, In] -> [N, Out]; each part of the matrix is read once.
at::Tensor multiply(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias) {
  constexpr int64_t together = 16;  // rows of the matrix, so that they stay in the first cache
  const int64_t count = x.size(0), rows = weight.rows();
  const int64_t filling = weight.blocks() * CompactBfloat16::block - weight.width();
  const at::Tensor floats = at::constant_pad_nd(x.to(at::kFloat), {0, filling}).contiguous();
  const at::Tensor out = at::empty({count, rows}, floats.options());
  cpu::for_parts(rows, cpu::count_parts(rows, cpu::rows_per_thread(weight.width())),
                 [&](int64_t, int64_t first, int64_t last) {
                   for (int64_t row = first; row < last; row += together) {
                     for (int64_t i = 0; i < count; ++i) {
                       cpu::multiply_rows(weight, row, std::min(last, row + together),
                                          floats.const_data_ptr<float>() + i * floats.size(1),
                                          out.mutable_data_ptr<float>() + i * rows);
                     }
                   }
                 });
  return (bias.defined() ? out + bias : out).to(x.scalar_type());
}

}  // namespace

at::Tensor compact_linear(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias) {
  constexpr int64_t few = 8;
  constexpr int64_t most_bytes = 16 << 20;  // of a part that is brought back
  check(x, weight, bias);
  const int64_t count = x.numel() / x.size(-1);
  if (count <= few && !needs_gradient(x)) {
    auto sizes = x.sizes().vec();
    sizes.back() = weight.rows();
    return multiply(x.reshape({-1, x.size(-1)}), weight, bias).view(sizes);
  }
  const int64_t rows = std::max<int64_t>(1, most_bytes / (2 * weight.width()));
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < weight.rows(); first += rows) {
    const int64_t last = std::min(weight.rows(), first + rows);
    const at::Tensor shift = bias.defined() ? bias.slice(0, first, last) : bias;
    parts.push_back(linear(x, cpu::restore(weight, first, last), shift));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, -1);
}

at::Tensor compact_linear_ref(const at::Tensor& x, const CompactBfloat16& weight, const at::Tensor& bias) {
  check(x, weight, bias);
  return linear_ref(x, weight.restore(), bias);
}

}  // namespace xinslm
