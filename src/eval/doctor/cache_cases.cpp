// Attention over keys and values as a cache keeps them in 8 bits.
#include <ATen/ATen.h>

#include "eval/doctor/operator_cases.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/attention.h"
#include "xinslm/ops/stored_heads.h"

namespace xinslm::doctor {
namespace {

/// Room for x in integers and scales.
StoredHeads room_for(const at::Tensor& x) {
  return {at::zeros(x.sizes(), x.options().dtype(at::kChar)),
          at::zeros(x.sizes().slice(0, 3), x.options().dtype(at::kFloat))};
}

/// The reference does not round keys and values, so the difference is mostly that of 8 bits: 1/254 of a row's
/// largest.
void add_attention_over_integers(std::vector<OperatorCase>& cases, int64_t queries, int64_t keys, int64_t window) {
  const auto over_integers = [=](const Tensors& t) {
    const StoredHeads keys = room_for(t[1]), values = room_for(t[2]);
    store_heads(t[1], t[2], keys, values);
    return Tensors{attention(t[0], keys, values, t[3], window)};
  };
  const auto exact = [=](const Tensors& t) { return Tensors{attention_ref(t[0], t[1], t[2], t[3], window, {})}; };
  cases.push_back({.subject = "attention, 8-bit keys",
                   .sizes = cat("8/2 heads, ", queries, " of ", keys, " tokens, width 64, window ", window),
                   .op = over_integers,
                   .reference = exact,
                   .inputs = {normal({1, 8, queries, 64}, 1), normal({1, 2, keys, 64}, 2), normal({1, 2, keys, 64}, 3),
                              normal({8}, 4)},
                   .wide = {3},
                   .float32 = 2e-2,
                   .half = 3e-2,
                   .differentiable = false});
}

}  // namespace

void add_cache_cases(std::vector<OperatorCase>& cases) {
  add_attention_over_integers(cases, 1, 97, 0);
  add_attention_over_integers(cases, 1, 300, 128);
  add_attention_over_integers(cases, 40, 75, 0);
}

}  // namespace xinslm::doctor
