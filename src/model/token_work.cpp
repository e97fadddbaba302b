#include "xinslm/model/token_work.h"

#include <algorithm>

#include "xinslm/model/parameter.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

TokenWork dense(const std::string& part, int64_t parameters) {
  return {part, parameters, 2 * parameters, parameters / quant_block * Q8Format::block_bytes,
          2.0 * static_cast<double>(parameters)};
}

TokenWork experts(int64_t parameters) {
  const int64_t bytes = parameters / quant_block * Mxfp4Format::block_bytes;
  return {"experts", parameters, bytes, bytes, 2.0 * static_cast<double>(parameters)};
}

TokenWork router(int64_t parameters) {
  return {"router", parameters, 4 * parameters, 4 * parameters, 2.0 * static_cast<double>(parameters)};
}

/// Keys and values of the tokens that each layer sees: every query head multiplies with its key head's and with its
/// value head's.
TokenWork attention(const ModelConfig& config, int64_t length) {
  int64_t tokens = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const int64_t window = config.window(layer);
    tokens += window > 0 ? std::min(window, length + 1) : length + 1;
  }
  const int64_t elements = 2 * tokens * config.num_key_value_heads * config.head_dim;
  const double flops = 4.0 * static_cast<double>(tokens * config.num_attention_heads * config.head_dim);
  return {"attention", elements, 2 * elements, 2 * elements, flops};
}

}  // namespace

std::vector<TokenWork> token_work(const ModelConfig& config, int64_t length) {
  int64_t inputs = 0, outputs = 0, routers = 0, chosen = 0, dense_layers = 0, head = 0;
  for (const Parameter& parameter : parameter_table(config)) {
    const int64_t count = parameter.numel();
    if (parameter.role == ParameterRole::attention) (parameter.residual ? outputs : inputs) += count;
    if (parameter.role == ParameterRole::router) routers += count;
    if (parameter.role == ParameterRole::expert) chosen += count / config.num_experts * config.num_experts_per_tok;
    if (parameter.role == ParameterRole::dense) dense_layers += count;
    const bool tied = parameter.role == ParameterRole::embedding && config.tie_word_embeddings;
    if (parameter.role == ParameterRole::head || tied) head += count;
  }
  std::vector<TokenWork> parts{dense("query, key, value", inputs), attention(config, length),
                               dense("attention output", outputs)};
  if (routers > 0) parts.push_back(router(routers));
  if (chosen > 0) parts.push_back(experts(chosen));
  if (dense_layers > 0) parts.push_back(dense("dense layers", dense_layers));
  parts.push_back(dense("head", head));
  return parts;
}

TokenWork total_work(const std::vector<TokenWork>& parts) {
  TokenWork all{"all", 0, 0, 0, 0};
  for (const TokenWork& one : parts) {
    all.parameters += one.parameters;
    all.bytes16 += one.bytes16;
    all.bytes8 += one.bytes8;
    all.flops += one.flops;
  }
  return all;
}

}  // namespace xinslm
