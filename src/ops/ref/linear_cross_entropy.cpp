#include "xinslm/ops/linear_cross_entropy.h"

#include <ATen/ATen.h>

#include "ops/ref/count.h"
#include "ops/ref/types.h"

namespace xinslm {

at::Tensor linear_cross_entropy_ref(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                    double label_smoothing, double softcap) {
  count_reference("linear_cross_entropy", hidden);
  at::Tensor logits = at::mm(hidden, weight.t()).to(sum_type(hidden));
  if (softcap > 0) logits = (logits / softcap).tanh() * softcap;
  const at::Tensor log_probability = logits.log_softmax(-1);
  const at::Tensor kept = targets != ignored_target;
  const at::Tensor safe = targets.masked_fill(kept.logical_not(), 0);
  const at::Tensor of_target = log_probability.gather(1, safe.unsqueeze(1)).squeeze(1);
  const at::Tensor loss = (label_smoothing - 1) * of_target - label_smoothing * log_probability.mean(-1);
  return (loss * kept).sum();
}

}  // namespace xinslm
