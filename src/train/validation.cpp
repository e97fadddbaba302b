#include "xinslm/train/validation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/train/batch_options.h"

namespace xinslm {

ValidationScore validate_model(const Transformer& model, const EvalSource& source, int64_t max_batches,
                               const std::function<void(double)>& on_progress) {
  at::NoGradGuard no_grad;
  const int64_t all = source.batches();
  const int64_t used = max_batches > 0 ? std::min(max_batches, all) : all;
  double sum = 0;
  int64_t tokens = 0, bytes = 0;
  for (int64_t i = 0; i < used; ++i) {
    const Batch batch = source.batch(i * all / used);
    const ForwardOptions options = batch_options(batch, model.device());
    const at::Tensor hidden = model.hidden_states(batch.tokens.to(model.device()), options);
    const at::Tensor loss =
        linear_cross_entropy(hidden.reshape({-1, hidden.size(-1)}), model.head().weight,
                             batch.targets.to(model.device()).reshape(-1), 0, model.config().logit_softcap);
    sum += loss.item<double>();
    tokens += batch.target_tokens;
    bytes += batch.target_bytes;
    if (on_progress) on_progress(static_cast<double>(i + 1) / static_cast<double>(used));
  }
  ValidationScore score;
  score.tokens = tokens;
  score.loss = sum / static_cast<double>(std::max<int64_t>(1, tokens));
  score.bits_per_byte = sum / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(1, bytes));
  score.perplexity = std::exp(score.loss);
  return score;
}

}  // namespace xinslm
