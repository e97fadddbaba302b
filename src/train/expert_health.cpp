#include "xinslm/train/expert_health.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

LayerHealth health_of(const float* counts, const int64_t* last_used, int64_t experts, int64_t chosen, int64_t now) {
  LayerHealth health;
  double total = 0;
  for (int64_t e = 0; e < experts; ++e) total += counts[e];
  double squares = 0, entropy = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const double share = total > 0 ? counts[e] / total : 0;
    health.load.push_back(share);
    squares += (share * static_cast<double>(experts) - 1) * (share * static_cast<double>(experts) - 1);
    if (share > 0) entropy -= share * std::log(share);
    if (now - last_used[e] > ExpertHealth::unused_after) ++health.unused;
  }
  health.variation = std::sqrt(squares / static_cast<double>(experts));
  health.effective_experts = std::exp(entropy);
  health.collapsed =
      health.effective_experts < static_cast<double>(chosen) + 0.25 * static_cast<double>(experts - chosen);
  return health;
}

}  // namespace

at::Tensor router_entropy(const at::Tensor& router_logits) {
  const at::Tensor log_probability = at::log_softmax(router_logits.detach(), 1);
  return -(log_probability.exp() * log_probability).sum(1).mean();
}

ExpertHealth::ExpertHealth(const ModelConfig& config, at::Device device)
    : first_moe_layer_(config.num_dense_layers), chosen_(config.num_experts_per_tok) {
  const int64_t layers = std::max<int64_t>(0, config.num_hidden_layers - config.num_dense_layers);
  counts_ = at::zeros({layers, config.num_experts}, at::device(device).dtype(at::kFloat));
  entropy_ = at::zeros({layers}, at::device(device).dtype(at::kFloat));
  // As if used just before the first step: an expert is unused only once 1,000 steps went by without it.
  last_used_ = at::full({layers, config.num_experts}, -1, at::device(device).dtype(at::kLong));
  steps_ = at::zeros({2}, at::kLong);
  warned_.resize(static_cast<size_t>(layers));
}

void ExpertHealth::add(int64_t step, const at::Tensor& counts, const at::Tensor& entropy) {
  if (counts_.size(0) == 0) return;
  counts_.add_(counts);
  entropy_.add_(entropy);
  last_used_.masked_fill_(counts > 0, step);
  steps_[0] += 1;
  steps_[1] = step + 1;
}

std::vector<LayerHealth> ExpertHealth::take() {
  const int64_t layers = counts_.size(0), experts = counts_.size(1);
  const int64_t steps = steps_[0].item<int64_t>(), now = steps_[1].item<int64_t>();
  if (layers == 0 || steps == 0) return {};
  const at::Tensor counts = counts_.cpu(), entropy = entropy_.cpu(), last_used = last_used_.cpu();
  std::vector<LayerHealth> result;
  for (int64_t layer = 0; layer < layers; ++layer) {
    result.push_back(health_of(counts.const_data_ptr<float>() + layer * experts,
                               last_used.const_data_ptr<int64_t>() + layer * experts, experts, chosen_, now));
    result.back().router_entropy = entropy.const_data_ptr<float>()[layer] / static_cast<double>(steps);
  }
  counts_.zero_();
  entropy_.zero_();
  steps_[0] = 0;
  return result;
}

std::optional<std::string> ExpertHealth::warning(const std::vector<LayerHealth>& layers) {
  std::string names;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].collapsed && !warned_[i]) {
      char text[64];
      std::snprintf(text, sizeof text, "%s%d (as if %.1f of %d)", names.empty() ? "" : ", ",
                    static_cast<int>(first_moe_layer_ + static_cast<int64_t>(i)), layers[i].effective_experts,
                    static_cast<int>(layers[i].load.size()));
      names += text;
    }
    warned_[i] = layers[i].collapsed;
  }
  if (names.empty()) return std::nullopt;
  return cat("few experts get nearly all tokens in layer ", names,
             "; raise training.router_aux_loss_coef or training.router_bias_update_rate, or use fewer experts");
}

NamedTensors ExpertHealth::state() const {
  return {{"expert_counts", counts_},
          {"router_entropy", entropy_},
          {"expert_last_used", last_used_},
          {"expert_steps", steps_}};
}

void ExpertHealth::restore(const StateTensors& state) {
  state.restore("expert_counts", counts_);
  state.restore("router_entropy", entropy_);
  state.restore("expert_last_used", last_used_);
  state.restore("expert_steps", steps_);
}

}  // namespace xinslm
