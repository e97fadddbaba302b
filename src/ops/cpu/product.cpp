#include "ops/cpu/product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "xinslm/core/cpu_features.h"

namespace xinslm::cpu {
namespace {

/// Widened values of b held at a time: they stay in the third cache, and products still run at full speed.
constexpr int64_t piece_values = 1 << 20;

/// oneDNN, which LibTorch calls for bfloat16, has kernels from AVX-512 on; on arm64 they need an extension of their
/// own.
bool library_is_fast(const at::Tensor& a) {
  if (a.scalar_type() != at::kBFloat16 || !a.is_cpu()) return true;
  return has_bfloat16_products();
}

}  // namespace

void product_out(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (library_is_fast(a)) {
    at::Tensor to = out;
    at::mm_out(to, a, b);
    return;
  }
  const at::Tensor wide = a.to(at::kFloat);
  const int64_t columns = b.size(1), piece = std::max<int64_t>(64, piece_values / std::max<int64_t>(1, b.size(0)));
  for (int64_t first = 0; first < columns; first += piece) {
    const int64_t count = std::min(piece, columns - first);
    out.narrow(1, first, count).copy_(at::mm(wide, b.narrow(1, first, count).to(at::kFloat)));
  }
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  product_out(out, a, b);
  return out;
}

}  // namespace xinslm::cpu
