#include "xinslm/eval/divergence.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <vector>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

/// [T, V] log-probabilities, float64 so that differences of small ones stay.
at::Tensor log_probabilities(const Transformer& model, const at::Tensor& tokens) {
  return model.logits(model.hidden_states(tokens))[0].to(at::kCPU).to(at::kDouble).log_softmax(-1);
}

}  // namespace

DivergenceResult measure_divergence(const Transformer& model, const Transformer& reference, const Tokenizer& tokenizer,
                                    const std::filesystem::path& file, const PerplexityOptions& text, int64_t context,
                                    int64_t limit, const ShowProgress& progress) {
  if (model.config().vocab_size != reference.config().vocab_size) {
    usage_error("the models have vocabularies of ", model.config().vocab_size, " and ", reference.config().vocab_size,
                "; their predictions do not compare");
  }
  const at::NoGradGuard no_gradients;
  std::vector<TokenId> ids = text_tokens(tokenizer, file, text);
  if (limit > 0 && static_cast<size_t>(limit) < ids.size()) ids.resize(static_cast<size_t>(limit));
  const auto count = static_cast<int64_t>(ids.size());
  const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
  DivergenceResult result;
  result.context = context > 0 ? context : std::min<int64_t>(model.config().max_position_embeddings, 1024);
  double sum = 0, same = 0;
  for (int64_t first = 0; first < count; first += result.context) {
    const at::Tensor window = tokens.narrow(1, first, std::min(result.context, count - first));
    const at::Tensor expected = log_probabilities(reference, window), found = log_probabilities(model, window);
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
