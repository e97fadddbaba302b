#include "xinslm/eval/divergence.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/model/decoder.h"
#include "xinslm/model/kv_cache.h"

namespace xinslm {
namespace {

at::Tensor window_logits(const Transformer& model, const at::Tensor& tokens) {
  return model.logits(model.hidden_states(tokens))[0];
}

/// The same as generation computes them: token by token, from keys and values as the cache keeps them.
at::Tensor window_logits(const Transformer& model, const at::Tensor& tokens, at::ScalarType kv_type) {
  KvCache cache(model.config(), 1, model.device(), kv_type);
  if (!Decoder::supports(model)) {
    ForwardOptions forward;
    forward.kv_cache = &cache;
    return model.logits(model.hidden_states(tokens, forward))[0];
  }
  Decoder decoder(model);
  const int64_t count = tokens.size(1);
  at::Tensor logits = at::empty({count, model.config().vocab_size}, at::kFloat);
  for (int64_t i = 0; i < count; ++i) logits[i].copy_(decoder.step(tokens[0][i].item<int64_t>(), cache, 0));
  return logits;
}

/// [T, V], float64 so that differences of small ones stay.
at::Tensor log_probabilities(const at::Tensor& logits) {
  return logits.to(at::kCPU).to(at::kDouble).log_softmax(-1);
}

}  // namespace

DivergenceResult measure_divergence(const Transformer& model, const Transformer& reference, const Tokenizer& tokenizer,
                                    const std::filesystem::path& file, const PerplexityOptions& text,
                                    const DivergenceOptions& options, const ShowProgress& progress) {
  if (model.config().vocab_size != reference.config().vocab_size) {
    usage_error("the models have vocabularies of ", model.config().vocab_size, " and ", reference.config().vocab_size,
                "; their predictions do not compare");
  }
  const at::NoGradGuard no_gradients;
  std::vector<TokenId> ids = text_tokens(tokenizer, file, text);
  if (options.limit > 0 && static_cast<size_t>(options.limit) < ids.size()) {
    ids.resize(static_cast<size_t>(options.limit));
  }
  const auto count = static_cast<int64_t>(ids.size());
  const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
  DivergenceResult result;
  result.kv_type = options.kv_type;
  result.context =
      options.context > 0 ? options.context : std::min<int64_t>(model.config().max_position_embeddings, 1024);
  double sum = 0, same = 0;
  for (int64_t first = 0; first < count; first += result.context) {
    const at::Tensor window = tokens.narrow(1, first, std::min(result.context, count - first));
    const at::Tensor expected = log_probabilities(window_logits(reference, window));
    const at::Tensor found = log_probabilities(options.kv_type ? window_logits(model, window, *options.kv_type)
                                                               : window_logits(model, window));
    const at::Tensor divergence = (expected.exp() * (expected - found)).sum(-1);
    sum += divergence.sum().item<double>();
    result.largest = std::max(result.largest, divergence.max().item<double>());
    same += expected.argmax(-1).eq(found.argmax(-1)).sum().item<double>();
    result.tokens += window.size(1);
    if (progress) progress(static_cast<double>(result.tokens) / static_cast<double>(count));
  }
  result.mean = sum / static_cast<double>(result.tokens);
  result.agreement = same / static_cast<double>(result.tokens);
  return result;
}

}  // namespace xinslm
