#include "ops/cpu/stored_heads.h"

#include "ops/cpu/dispatch.h"
#include "ops/cpu/packed_kernels.h"
#include "ops/cpu/parallel.h"
#include "xinslm/quant/formats.h"

namespace xinslm::cpu {
namespace {

/// Where row t of [B, K, T] begins.
class HeadRows {
 public:
  explicit HeadRows(const at::Tensor& x)
      : data_(bytes_of(x)),
        bytes_(x.element_size()),
        heads_(x.size(1)),
        tokens_(x.size(2)),
        batch_stride_(x.stride(0)),
        head_stride_(x.stride(1)),
        token_stride_(x.stride(2)) {}

  char* address(int64_t row) const {
    const int64_t head = row / tokens_, token = row % tokens_;
    return data_ + bytes_ * (head / heads_ * batch_stride_ + head % heads_ * head_stride_ + token * token_stride_);
  }

 private:
  char* data_;
  int64_t bytes_, heads_, tokens_, batch_stride_, head_stride_, token_stride_;
};

bool fit(const at::Tensor& x, const StoredHeads& heads) {
  return is_fast(x) && heads.scales.defined() && heads.values.is_cpu() && x.stride(3) == 1 &&
         heads.values.stride(3) == 1;
}

/// Calls body(place of x, codes, scale) for each row.
template <class Body>
void for_rows(const at::Tensor& x, const StoredHeads& heads, const Body& body) {
  const HeadRows of_x(x), codes(heads.values), scales(heads.scales);
  const int64_t rows = x.size(0) * x.size(1) * x.size(2);
  for_parts(rows, count_parts(rows, rows_per_thread(x.size(3))), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      body(of_x.address(row), reinterpret_cast<int8_t*>(codes.address(row)),
           reinterpret_cast<float*>(scales.address(row)));
    }
  });
}

}  // namespace

bool store_integers(const at::Tensor& x, const StoredHeads& place) {
  if (!fit(x, place)) return false;
  const auto quantize = packed_kernels().quantize_row[element_of(x)];
  const int64_t blocks = x.size(3) / quant_block;
  for_rows(x, place, [&](const char* from, int8_t* codes, float* scale) { *scale = quantize(from, blocks, codes); });
  return true;
}

bool load_integers(const StoredHeads& heads, const at::Tensor& out) {
  if (!fit(out, heads)) return false;
  const auto dequantize = packed_kernels().dequantize_row[element_of(out)];
  const int64_t blocks = out.size(3) / quant_block;
  for_rows(out, heads,
           [&](char* to, const int8_t* codes, const float* scale) { dequantize(codes, *scale, blocks, to); });
  return true;
}

}  // namespace xinslm::cpu
