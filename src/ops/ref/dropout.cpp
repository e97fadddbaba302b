#include "xinslm/ops/dropout.h"

#include <ATen/ATen.h>

#include "ops/dropout_key.h"
#include "ops/ref/count.h"

namespace xinslm {
namespace {

constexpr int64_t low_word = 0xffffffff;

/// mix_word of every element; int64 products wrap around, the low 32 bits are right all the same.
at::Tensor mix_words(at::Tensor x) {
  x = x ^ x.bitwise_right_shift(16);
  x = (x * mix_multiplier_1).bitwise_and(low_word);
  x = x ^ x.bitwise_right_shift(15);
  x = (x * mix_multiplier_2).bitwise_and(low_word);
  return x ^ x.bitwise_right_shift(16);
}

}  // namespace

at::Tensor dropout_ref(const at::Tensor& x, double p, uint64_t seed) {
  count_reference("dropout", x);
  const DropoutKey key(p, seed);
  const at::Tensor index = at::arange(x.numel(), x.options().dtype(at::kLong).requires_grad(false));
  const at::Tensor low = index.bitwise_and(low_word), high = index.bitwise_right_shift(32);
  at::Tensor word = mix_words(low ^ int64_t{key.first});
  word = mix_words((word + high * int64_t{key.high_step} + int64_t{key.second}).bitwise_and(low_word));
  const at::Tensor kept = (word >= int64_t{key.threshold}).view(x.sizes());
  return x * kept.to(x.scalar_type()) * key.scale;
}

}  // namespace xinslm
