#include "ops/mps/stored_heads.h"

#include <ATen/ATen.h>

#include "ops/mps/launch.h"
#include "xinslm/core/error.h"

namespace xinslm::mps {
namespace {

at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.stride(3) == 1 ? x : x.contiguous();
}

bool has_kernel(const at::Tensor& keys, const at::Tensor& values, const StoredHeads& key_place,
                const StoredHeads& value_place) {
  const at::Tensor &to_keys = key_place.values, &to_values = value_place.values;
  if (!is_fast(keys) || values.scalar_type() != keys.scalar_type() || to_keys.strides() != to_values.strides() ||
      to_keys.stride(3) != 1 || to_values.scalar_type() != to_keys.scalar_type()) {
    return false;
  }
  if (to_keys.scalar_type() == at::kChar) return scales_follow(key_place) && scales_follow(value_place);
  return to_keys.scalar_type() == keys.scalar_type();
}

}  // namespace

bool scales_follow(const StoredHeads& heads) {
  bool follow = heads.values.stride(3) == 1 && heads.scales.stride(2) == 1;
  for (int64_t d = 0; d < 3; ++d) {
    follow = follow && heads.values.stride(d) == heads.scales.stride(d) * heads.values.size(3);
  }
  return follow;
}

bool store_heads(const at::Tensor& keys, const at::Tensor& values, const StoredHeads& key_place,
                 const StoredHeads& value_place) {
  if (!has_kernel(keys, values, key_place, value_place)) return false;
  if (keys.numel() == 0) return true;
  const bool integers = key_place.scales.defined();
  const at::Tensor from_keys = with_dense_rows(keys), from_values = with_dense_rows(values);
  Launch launch("stored_heads", cat(integers ? "quantize_heads_" : "store_heads_", suffix(keys)));
  launch.tensor(from_keys).tensor(from_values).tensor(key_place.values).tensor(value_place.values);
  for (const at::Tensor* x : {&from_keys, &from_values, &key_place.values}) {
    for (int64_t d = 0; d < 3; ++d) launch.integer(x->stride(d));
  }
  launch.integer(keys.size(1)).integer(keys.size(2));
  const int64_t width = keys.size(3);
  if (integers) launch.integer(width).tensor(key_place.scales).tensor(value_place.scales);
  const auto lanes = static_cast<uint64_t>(integers ? 32 : width);
  launch.run({lanes, static_cast<uint64_t>(keys.numel() / width), 2}, {32, 4, 1});
  return true;
}

}  // namespace xinslm::mps
