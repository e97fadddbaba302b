#include "xinslm/train/flops.h"

#include <algorithm>

#include "xinslm/model/transformer.h"

namespace xinslm {
namespace {

/// Keys that a query sees on average: itself and those before it, at most a window's.
double mean_keys(int64_t tokens, int64_t window) {
  const int64_t limit = window > 0 ? std::min(window, tokens) : tokens;
  const double growing = 0.5 * static_cast<double>(limit) * static_cast<double>(limit + 1);
  return (growing + static_cast<double>(tokens - limit) * static_cast<double>(limit)) / static_cast<double>(tokens);
}

}  // namespace

double training_flops_per_token(const ModelConfig& config, int64_t experts, int64_t tokens) {
  ModelConfig counted = config;
  // Dense layers keep their width whatever the number of experts.
  counted.dense_intermediate_size = config.dense_width();
  counted.num_experts_per_tok = experts;
  double flops = 6 * static_cast<double>(count_parameters(counted).active);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const double width = static_cast<double>(config.num_attention_heads * config.head_dim);
    flops += 3 * 4 * width * mean_keys(tokens, config.window(layer));
  }
  return flops;
}

}  // namespace xinslm
