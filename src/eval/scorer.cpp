#include "xinslm/eval/scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <span>

#include "xinslm/core/error.h"
#include "xinslm/eval/text.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/train/batch_options.h"

namespace xinslm {
namespace {

int64_t size_of(const std::vector<TokenId>& ids) {
  return static_cast<int64_t>(ids.size());
}

/// Requests that are computed together. Where `rounds` is above 1 their contexts are equally long and come `rounds`
/// times each: request r * contexts + c is the r-th with context c, and every context is computed once.
struct Pass {
  std::vector<size_t> requests;
  size_t rounds = 1;
  size_t contexts() const { return requests.size() / rounds; }
};

/// Fewer new tokens than this in one go waste more than sharing a context saves.
constexpr int64_t least_shared_tokens = 128;
/// Nor is it worth while for contexts shorter than this.
constexpr int64_t least_shared_context = 8;

/// [B, T] int64, shorter rows filled with zeros: causal attention never looks at what comes later.
at::Tensor padded(const std::vector<std::vector<TokenId>>& rows) {
  int64_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, size_of(row));
  at::Tensor tokens = at::zeros({static_cast<int64_t>(rows.size()), longest}, at::kLong);
  auto* out = tokens.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i].begin(), rows[i].end(), out + static_cast<int64_t>(i) * longest);
  return tokens;
}

}  // namespace

/// Cuts the requests into passes and runs them.
class ScoreBatches {
 public:
  ScoreBatches(const Scorer& scorer, const std::vector<ScoreRequest>& requests)
      : scorer_(scorer),
        model_(scorer.model_),
        requests_(requests),
        contexts_(requests.size()),
        scores_(requests.size()) {
    for (size_t i = 0; i < requests.size(); ++i) fit(i);
    plan();
  }

  std::vector<Score> run(const ShowProgress& progress) {
    const at::NoGradGuard no_gradients;
    for (size_t done = 0; done < passes_.size(); ++done) {
      compute(passes_[done]);
      if (progress) progress(static_cast<double>(done + 1) / static_cast<double>(passes_.size()));
    }
    return std::move(scores_);
  }

 private:
  void fit(size_t index);
  void plan();
  std::vector<size_t> plan_shared();
  void plan_padded(std::vector<size_t> rest);
  void compute(const Pass& pass);
  std::vector<at::Tensor> states(const Pass& pass) const;
  std::vector<at::Tensor> shared_states(const Pass& pass) const;
  at::Tensor forward(const at::Tensor& tokens, KvCache* cache, std::optional<int64_t> last_tokens = {}) const;
  std::vector<TokenId> context(size_t index) const;
  std::vector<TokenId> fed_continuation(size_t index) const;
  int64_t continuation(size_t index) const { return size_of(requests_[index].continuation); }
  int64_t length(size_t index) const { return contexts_[index] + continuation(index) - 1; }

  const Scorer& scorer_;
  const Transformer& model_;
  const std::vector<ScoreRequest>& requests_;
  std::vector<int64_t> contexts_;  // tokens of each context that are used, from its end
  std::vector<Pass> passes_;
  std::vector<Score> scores_;
};

void ScoreBatches::fit(size_t index) {
  const ScoreRequest& request = requests_[index];
  const int64_t continuation = size_of(request.continuation), longest = scorer_.max_length();
  if (request.context.empty() || continuation == 0) usage_error("a score needs a context and a continuation");
  if (continuation > longest) {
    data_error("a continuation is ", continuation, " tokens long; the model sees ", longest, " at a time");
  }
  // The last token is only scored, never fed: one more fits.
  contexts_[index] = std::min(size_of(request.context), longest + 1 - continuation);
}

void ScoreBatches::plan() {
  plan_padded(plan_shared());
  // Long ones first, so that memory is known to suffice early on.
  std::ranges::stable_sort(passes_, std::greater<>(), [&](const Pass& pass) { return length(pass.requests.front()); });
}

/// Takes neighbours with one context together, and those groups that are alike. @return the requests that are left
std::vector<size_t> ScoreBatches::plan_shared() {
  std::vector<size_t> rest;
  std::map<std::pair<int64_t, size_t>, std::vector<size_t>> alike;  // context length, rounds -> first requests
  for (size_t first = 0, next = 0; first < requests_.size(); first = next) {
    for (next = first + 1; next < requests_.size() && contexts_[next] == contexts_[first] &&
                           requests_[next].context == requests_[first].context;) {
      ++next;
    }
    if (next - first > 1 && contexts_[first] >= least_shared_context) {
      alike[{contexts_[first], next - first}].push_back(first);
    } else {
      for (size_t index = first; index < next; ++index) rest.push_back(index);
    }
  }
  for (const auto& [kind, firsts] : alike) {
    const auto [context, rounds] = kind;
    const size_t most = static_cast<size_t>(std::max<int64_t>(1, scorer_.options_.batch_tokens / context));
    for (size_t done = 0; done < firsts.size(); done += most) {
      const std::span group = std::span(firsts).subspan(done, std::min(most, firsts.size() - done));
      Pass pass{{}, rounds};
      int64_t fed = 0;
      for (size_t round = 0; round < rounds; ++round) {
        for (const size_t first : group) pass.requests.push_back(first + round);
      }
      for (const size_t index : pass.requests) fed += continuation(index) - 1;
      if (fed >= least_shared_tokens * static_cast<int64_t>(rounds)) {
        passes_.push_back(std::move(pass));
      } else {
        rest.insert(rest.end(), pass.requests.begin(), pass.requests.end());
      }
    }
  }
  return rest;
}

/// Requests of about the same length, filled up to the longest.
void ScoreBatches::plan_padded(std::vector<size_t> rest) {
  std::ranges::stable_sort(rest, std::greater<>(), [&](size_t i) { return length(i); });
  std::vector<size_t> requests;
  const auto close = [&] {
    if (!requests.empty()) passes_.push_back({std::exchange(requests, {}), 1});
  };
  for (const size_t index : rest) {
    const auto rows = static_cast<int64_t>(requests.size()) + 1;
    if (rows > 1 && rows * length(requests.front()) > scorer_.options_.batch_tokens) close();
    requests.push_back(index);
  }
  close();
}

std::vector<TokenId> ScoreBatches::context(size_t index) const {
  const std::vector<TokenId>& whole = requests_[index].context;
  return {whole.end() - contexts_[index], whole.end()};
}

/// The last token is only scored.
std::vector<TokenId> ScoreBatches::fed_continuation(size_t index) const {
  const std::vector<TokenId>& whole = requests_[index].continuation;
  return {whole.begin(), whole.end() - 1};
}

at::Tensor ScoreBatches::forward(const at::Tensor& tokens, KvCache* cache, std::optional<int64_t> last_tokens) const {
  ForwardOptions options;
  options.num_experts_per_tok = scorer_.options_.num_experts_per_tok;
  options.kv_cache = cache;
  options.last_tokens = last_tokens;
  return model_.hidden_states(tokens.to(model_.device()), options);
}

/// Hidden states in front of every token of each continuation, in the order of the requests: [length, H] each.
std::vector<at::Tensor> ScoreBatches::states(const Pass& pass) const {
  if (pass.rounds > 1) return shared_states(pass);
  std::vector<std::vector<TokenId>> rows;
  for (const size_t index : pass.requests) {
    rows.push_back(context(index));
    const std::vector<TokenId> fed = fed_continuation(index);
    rows.back().insert(rows.back().end(), fed.begin(), fed.end());
  }
  const at::Tensor hidden = forward(padded(rows), nullptr);
  std::vector<at::Tensor> parts;
  for (const size_t index : pass.requests) {
    const at::Tensor row = hidden[static_cast<int64_t>(parts.size())];
    parts.push_back(row.narrow(0, contexts_[index] - 1, continuation(index)));
  }
  return parts;
}

/// The contexts stay in a cache; each round computes one continuation of every context and is forgotten again.
std::vector<at::Tensor> ScoreBatches::shared_states(const Pass& pass) const {
  const size_t count = pass.contexts();
  std::vector<std::vector<TokenId>> rows;
  for (size_t i = 0; i < count; ++i) rows.push_back(context(pass.requests[i]));
  const at::Tensor contexts = padded(rows);
  KvCache cache(model_.config(), static_cast<int64_t>(count), model_.device(), model_.type());
  const at::Tensor last = forward(contexts, &cache, 1);
  std::vector<at::Tensor> parts;
  for (size_t round = 0; round < pass.rounds; ++round) {
    const auto requests = std::span(pass.requests).subspan(round * count, count);
    rows.clear();
    for (const size_t index : requests) rows.push_back(fed_continuation(index));
    const at::Tensor fed = padded(rows);
    const at::Tensor hidden = fed.size(1) == 0 ? last : at::cat({last, forward(fed, &cache)}, 1);
    for (size_t i = 0; i < count; ++i) {
      parts.push_back(hidden[static_cast<int64_t>(i)].narrow(0, 0, continuation(requests[i])));
    }
    if (round + 1 < pass.rounds && !cache.truncate(contexts.size(1))) {
      cache.clear();  // a windowed layer went past the context's end
      forward(contexts, &cache, 0);
    }
  }
  return parts;
}

void ScoreBatches::compute(const Pass& pass) {
  std::vector<int64_t> targets;
  for (const size_t index : pass.requests) {
    targets.insert(targets.end(), requests_[index].continuation.begin(), requests_[index].continuation.end());
  }
  const at::Tensor wanted = at::tensor(targets, at::kLong).to(model_.device());
  at::Tensor greedy;
  const at::Tensor found =
      model_.token_log_probabilities(at::cat(states(pass)), wanted, &greedy).to(at::kCPU).to(at::kDouble).contiguous();
  greedy = greedy.to(at::kCPU).contiguous();
  const double* log_probability = found.const_data_ptr<double>();
  const bool* best = greedy.const_data_ptr<bool>();
  for (const size_t index : pass.requests) {
    const int64_t count = continuation(index);
    scores_[index] = {std::accumulate(log_probability, log_probability + count, 0.0),
                      std::all_of(best, best + count, [](bool yes) { return yes; })};
    log_probability += count;
    best += count;
  }
}

Scorer::Scorer(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : model_(model), tokenizer_(std::move(tokenizer)), options_(options) {
  const int64_t positions = model.config().max_position_embeddings;
  if (options_.max_length < 0 || options_.max_length > positions) {
    usage_error("context is ", options_.max_length, " tokens; the model has ", positions, " positions");
  }
  if (options_.max_length == 0) options_.max_length = positions;
  if (options_.batch_tokens < 1) usage_error("batch-tokens is ", options_.batch_tokens, "; it must be at least 1");
}

ScoreRequest Scorer::request(std::string context, std::string continuation) const {
  const size_t end = trim_end(context).size();
  continuation.insert(0, context.substr(end));
  context.resize(end);
  ScoreRequest request;
  if (context.empty()) {
    request.context = {tokenizer_->end_of_text()};
    request.continuation = tokenizer_->encode(continuation);
  } else {
    request.context = tokenizer_->encode(context);
    const std::vector<TokenId> whole = tokenizer_->encode(context + continuation);
    const auto own = static_cast<ptrdiff_t>(std::min(request.context.size(), whole.size()));
    request.continuation.assign(whole.begin() + own, whole.end());
  }
  if (request.continuation.empty()) {
    data_error("\"", continuation, "\" has no token of its own after \"", context, "\"");
  }
  return request;
}

double Scorer::score_batch(const Batch& batch) const {
  const at::NoGradGuard no_gradients;
  ForwardOptions options = batch_options(batch, model_.device());
  options.num_experts_per_tok = options_.num_experts_per_tok;
  const at::Tensor hidden = model_.hidden_states(batch.tokens.to(model_.device()), options).flatten(0, 1);
  const at::Tensor wanted = batch.targets.flatten().to(model_.device());
  const at::Tensor places = wanted.ne(ignored_target).nonzero().squeeze(1);
  return model_.token_log_probabilities(hidden.index_select(0, places), wanted.index_select(0, places))
      .to(at::kCPU)
      .to(at::kDouble)
      .sum()
      .item<double>();
}

std::vector<Score> Scorer::score(const std::vector<ScoreRequest>& requests, const ShowProgress& progress) const {
  return ScoreBatches(*this, requests).run(progress);
}

std::vector<ScoreRequest> rolling_windows(const std::vector<TokenId>& tokens, TokenId prefix, int64_t max_length,
                                          int64_t stride) {
  if (max_length < 1) usage_error("context is ", max_length, " tokens; it must be at least 1");
  if (stride < 1 || stride > max_length) {
    usage_error("stride is ", stride, " tokens; it must be between 1 and the context of ", max_length);
  }
  std::vector<ScoreRequest> windows;
  const auto at = [&](int64_t position) { return tokens.begin() + position; };
  for (int64_t done = 0; done < size_of(tokens);) {
    const int64_t end = std::min(size_of(tokens), done == 0 ? max_length : done + stride);
    // max_length tokens are fed: those up to the last but one of the window.
    const int64_t first = end - 1 - max_length;
    ScoreRequest window;
    if (first < 0) window.context = {prefix};
    window.context.insert(window.context.end(), at(std::max<int64_t>(0, first)), at(done));
    window.continuation.assign(at(done), at(end));
    windows.push_back(std::move(window));
    done = end;
  }
  return windows;
}

}  // namespace xinslm
