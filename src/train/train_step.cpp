#include "train/train_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "xinslm/core/random.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/train/balance.h"
#include "xinslm/train/batch_options.h"
#include "xinslm/train/expert_health.h"

namespace xinslm {
namespace {

ForwardOptions forward_options(const Batch& batch, const TrainingSettings& settings, const StepPlan& plan,
                               uint64_t index, at::Device device, std::vector<RouterRecord>& records) {
  ForwardOptions options = batch_options(batch, device);
  options.num_experts_per_tok = plan.experts;
  options.gradient_checkpointing = settings.gradient_checkpointing;
  options.word_dropout = settings.word_dropout;
  options.input_dropout = settings.input_dropout;
  options.hidden_dropout = settings.hidden_dropout;
  options.output_dropout = settings.output_dropout;
  options.dropout_seed =
      mix_seed({static_cast<uint64_t>(settings.seed), random_for::dropout, static_cast<uint64_t>(plan.step), index});
  options.router_records = &records;
  options.router_bias = plan.router_bias;
  return options;
}

/// The router's losses of one batch, summed over the layers, and what is watched of it.
struct RouterLosses {
  at::Tensor balance, z;       // scalars; undefined without MoE layers
  at::Tensor counts, entropy;  // [L, E], [L]
};

RouterLosses router_losses(const std::vector<RouterRecord>& records, int64_t num_experts) {
  RouterLosses losses;
  std::vector<at::Tensor> balance, z, counts, entropy;
  for (const RouterRecord& record : records) {
    counts.push_back(count_assignments(record.chosen, num_experts));
    balance.push_back(load_balancing_loss(record.router_logits, counts.back()));
    z.push_back(router_z_loss(record.router_logits));
    entropy.push_back(router_entropy(record.router_logits));
  }
  if (records.empty()) return losses;
  losses.balance = at::stack(balance).sum();
  losses.z = at::stack(z).sum();
  losses.counts = at::stack(counts);
  losses.entropy = at::stack(entropy);
  return losses;
}

/// Sum of the cross-entropy over the batch's target tokens.
at::Tensor token_loss(const Transformer& model, const Batch& batch, const TrainingSettings& settings,
                      const ForwardOptions& options) {
  const at::Tensor hidden = model.hidden_states(batch.tokens.to(model.device()), options);
  return linear_cross_entropy(hidden.reshape({-1, hidden.size(-1)}), model.head().weight,
                              batch.targets.to(model.device()).reshape(-1), settings.label_smoothing,
                              model.config().logit_softcap);
}

void add_to(at::Tensor& sum, const at::Tensor& term) {
  if (term.defined()) sum = sum.defined() ? sum + term.detach() : term.detach();
}

}  // namespace

bool StepResult::finite() const {
  return std::isfinite(loss_sum) && std::isfinite(gradient_norm);
}
double StepResult::loss() const {
  return loss_sum / static_cast<double>(std::max<int64_t>(1, target_tokens));
}

int64_t draw_experts(const ModelConfig& config, uint64_t seed, int64_t step) {
  if (!config.elastic_top_k) return config.num_experts_per_tok;
  RandomStream random({seed, random_for::expert_count, static_cast<uint64_t>(step)});
  if (random.uniform() < 0.5) return config.num_experts_per_tok;
  const int64_t most = std::min(2 * config.num_experts_per_tok, config.num_experts);
  return 1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(most)));
}

StepResult compute_gradients(const Transformer& model, const std::vector<Batch>& batches,
                             const TrainingSettings& settings, const StepPlan& plan, Gradients& gradients) {
  StepResult result;
  for (const Batch& batch : batches) {
    result.tokens += batch.real_tokens();
    result.target_tokens += batch.target_tokens;
    result.target_bytes += batch.target_bytes;
  }
  at::Tensor loss_sum, balance_sum, z_sum;
  for (size_t i = 0; i < batches.size(); ++i) {
    // The router's losses are means over a batch's tokens; in the sum over all targets they weigh by those tokens.
    const auto tokens = static_cast<double>(batches[i].real_tokens());
    const double router_weight =
        static_cast<double>(result.target_tokens) * tokens / static_cast<double>(result.tokens);
    std::vector<RouterRecord> records;
    const at::Tensor loss = token_loss(model, batches[i], settings,
                                       forward_options(batches[i], settings, plan, i, model.device(), records));
    const RouterLosses router = router_losses(records, model.config().num_experts);
    at::Tensor objective = loss;
    if (router.balance.defined()) {
      objective = objective + router.balance * (settings.router_aux_loss_coef * router_weight) +
                  router.z * (settings.router_z_loss_coef * router_weight);
    }
    objective.backward();
    gradients.collect();
    add_to(loss_sum, loss);
    if (!router.balance.defined()) continue;
    add_to(balance_sum, router.balance * tokens);
    add_to(z_sum, router.z * tokens);
    add_to(result.router_entropy, router.entropy * tokens);
    add_to(result.expert_counts, router.counts);
  }
  result.loss_sum = loss_sum.item<double>();
  result.gradient_norm = gradients.norm() / static_cast<double>(std::max<int64_t>(1, result.target_tokens));
  if (!balance_sum.defined()) return result;
  const double layers = static_cast<double>(result.router_entropy.numel()), tokens = static_cast<double>(result.tokens);
  result.balance_loss = balance_sum.item<double>() / (layers * tokens);
  result.z_loss = z_sum.item<double>() / (layers * tokens);
  result.router_entropy = result.router_entropy / tokens;
  return result;
}

}  // namespace xinslm
