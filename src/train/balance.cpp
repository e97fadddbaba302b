#include "xinslm/train/balance.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace xinslm {
namespace {

constexpr double fading_share = 0.2;

int64_t moe_layers(const ModelConfig& config) {
  return std::max<int64_t>(0, config.num_hidden_layers - config.num_dense_layers);
}

}  // namespace

at::Tensor load_balancing_loss(const at::Tensor& router_logits, const at::Tensor& counts) {
  const at::Tensor share = counts / counts.sum();
  const at::Tensor probability = at::softmax(router_logits, 1).mean(0);
  return at::dot(probability, share) * static_cast<double>(router_logits.size(1));
}

at::Tensor router_z_loss(const at::Tensor& router_logits) {
  return at::logsumexp(router_logits, 1).square().mean();
}

at::Tensor count_assignments(const at::Tensor& chosen, int64_t num_experts) {
  return at::bincount(chosen.reshape(-1), {}, num_experts).to(at::kFloat);
}

RouterBias::RouterBias(const ModelConfig& config, at::Device device, double rate)
    : rate_(rate), bias_(at::zeros({moe_layers(config), config.num_experts}, at::device(device).dtype(at::kFloat))) {}

const std::vector<at::Tensor>* RouterBias::at_share(double share_done) {
  if (!active()) return nullptr;
  const double strength = std::clamp((1 - share_done) / fading_share, 0.0, 1.0);
  applied_ = (bias_ * strength).unbind(0);
  return &applied_;
}

void RouterBias::update(const at::Tensor& counts) {
  bias_.add_((counts.mean(1, true) - counts).sign_(), rate_);
}

NamedTensors RouterBias::state() const {
  return {{"router_bias", bias_}};
}
void RouterBias::restore(const StateTensors& state) {
  state.restore("router_bias", bias_);
}

}  // namespace xinslm
