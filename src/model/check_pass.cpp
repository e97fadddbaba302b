#include "model/check_pass.h"

#include <ATen/ATen.h>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

void check_weights(const Transformer& model) {
  for (const auto& [name, tensor] : model.parameters()) {
    if (model.is_packed(name)) continue;
    if (!tensor.defined()) runtime_failure("parameter ", name, " was not set before the model was used");
  }
}

void check_tokens(const ModelConfig& config, const at::Tensor& tokens, const KvCache* cache) {
  if (tokens.dim() != 2 || tokens.scalar_type() != at::kLong || tokens.numel() == 0) {
    usage_error("tokens are ", tokens.sizes(), " of ", tokens.scalar_type(),
                "; expected [batch, time] of int64, not empty");
  }
  const int64_t positions = tokens.size(1) + (cache == nullptr ? 0 : cache->length());
  if (positions > config.max_position_embeddings) {
    usage_error("the text has ", positions, " tokens, but the model has positions for ", config.max_position_embeddings,
                " (max_position_embeddings); shorten it");
  }
}

void check_routing(const ModelConfig& config, const ForwardOptions& options) {
  const int64_t experts = options.num_experts_per_tok;
  if (experts < 0 || experts > config.num_experts) {
    usage_error("num_experts_per_tok is ", experts, "; the model has ", config.num_experts, " experts");
  }
  const auto moe_layers = static_cast<size_t>(config.num_hidden_layers - config.num_dense_layers);
  if (options.router_bias != nullptr && options.router_bias->size() != moe_layers) {
    usage_error("there are ", options.router_bias->size(), " router biases for ", moe_layers, " layers with experts");
  }
}

void check_real_places(const at::Tensor& places, const at::Tensor& tokens, const ForwardOptions& options) {
  if (options.kv_cache != nullptr || options.last_tokens) {
    usage_error("real_places go with whole rows, not with kv_cache or last_tokens");
  }
  if (places.dim() != 1 || places.scalar_type() != at::kLong || places.numel() == 0 ||
      places.numel() > tokens.numel()) {
    usage_error("real_places are ", places.sizes(), " of ", places.scalar_type(), "; expected some of the ",
                tokens.numel(), " places as int64");
  }
}

}  // namespace

void check_pass(const Transformer& model, const at::Tensor& tokens, const ForwardOptions& options) {
  check_weights(model);
  check_tokens(model.config(), tokens, options.kv_cache);
  check_routing(model.config(), options);
  if (options.document_ids.defined() && options.kv_cache != nullptr) {
    usage_error("document_ids and kv_cache cannot be used together: the cache does not know documents");
  }
  const int64_t least = options.kv_cache == nullptr ? 1 : 0;
  if (options.last_tokens.value_or(least) < least) {
    usage_error("last_tokens is ", *options.last_tokens, "; it must be at least 1, or 0 with a kv_cache");
  }
  if (options.real_places.defined()) check_real_places(options.real_places, tokens, options);
  if (options.document_ids.defined() && options.document_ids.sizes() != tokens.sizes()) {
    usage_error("document_ids are ", options.document_ids.sizes(), ", tokens ", tokens.sizes(), "; they must agree");
  }
}

}  // namespace xinslm
