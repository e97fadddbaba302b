#include "xinslm/ops/stored_heads.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "ops/checks.h"
#include "ops/cpu/stored_heads.h"
#include "ops/mps/attention.h"
#include "ops/mps/stored_heads.h"
#include "xinslm/ops/attention.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr double smallest_coded = 0x1p-100;  // below it are zeros: the reciprocal of a scale could be infinite

bool fit(const StoredHeads& heads) {
  if (heads.values.dim() != 4) return false;
  if (heads.values.scalar_type() != at::kChar) return !heads.scales.defined();
  return heads.values.size(3) % quant_block == 0 && heads.scales.defined() &&
         heads.scales.sizes() == heads.values.sizes().slice(0, 3);
}

void store(const at::Tensor& x, const StoredHeads& place) {
  if (!place.scales.defined()) {
    place.values.copy_(x);
    return;
  }
  if (cpu::store_integers(x, place)) return;
  const at::Tensor numbers = x.to(at::kFloat);
  const at::Tensor largest = numbers.abs().amax(-1), scales = largest / 127;
  const at::Tensor inverse = at::where(largest > smallest_coded, scales.reciprocal(), at::zeros_like(scales));
  place.values.copy_((numbers * inverse.unsqueeze(-1)).round());
  place.scales.copy_(scales);
}

}  // namespace

void store_heads(const at::Tensor& keys, const at::Tensor& values, const StoredHeads& key_place,
                 const StoredHeads& value_place) {
  const auto check = [](const at::Tensor& x, const StoredHeads& place) {
    require(fit(place) && x.sizes() == place.values.sizes(), "store_heads: ", x.sizes(), " does not fit into ",
            place.values.sizes(), " of ", place.values.scalar_type());
  };
  check(keys, key_place);
  check(values, value_place);
  if (mps::store_heads(keys, values, key_place, value_place)) return;
  store(keys, key_place);
  store(values, value_place);
}

at::Tensor load_heads(const StoredHeads& heads, at::ScalarType type) {
  require(fit(heads), "load_heads: ", heads.values.sizes(), " of ", heads.values.scalar_type(),
          " has no scales that fit");
  if (!heads.scales.defined()) return heads.values.to(type);
  at::Tensor loaded = at::empty(heads.values.sizes(), heads.values.options().dtype(type));
  if (cpu::load_integers(heads, loaded)) return loaded;
  return (heads.values.to(at::kFloat) * heads.scales.unsqueeze(-1)).to(type);
}

at::Tensor attention(const at::Tensor& query, const StoredHeads& keys, const StoredHeads& values,
                     const at::Tensor& sinks, int64_t window) {
  const at::NoGradGuard no_grad;
  const bool are_integers = fit(keys) && fit(values) && keys.scales.defined() && values.scales.defined();
  if (are_integers && mps::has_attention(query)) {
    const AttentionInput input{query, keys.values, values.values, sinks, window, {}, keys.scales, values.scales};
    check_attention_sizes(input);
    return mps::attention_inference(input);
  }
  const at::ScalarType type = query.scalar_type();
  return attention(query, load_heads(keys, type), load_heads(values, type), sinks, window, {});
}

}  // namespace xinslm
