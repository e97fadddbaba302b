#include "xinslm/generate/generator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <numeric>
#include <optional>
#include <set>

#include "generate/pass_length.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/generate/stop_text.h"
#include "xinslm/model/decoder.h"
#include "xinslm/model/kv_cache.h"

namespace xinslm {
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double rate(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

std::vector<TokenId> text_ends(const ModelConfig& config, const Tokenizer& tokenizer) {
  std::vector<TokenId> ends = {tokenizer.end_of_text()};
  for (const int64_t id : config.eos_token_ids()) ends.push_back(static_cast<TokenId>(id));
  return ends;
}

std::vector<TokenId> GenerateResult::ids() const {
  std::vector<TokenId> ids;
  for (const TokenChoice& choice : tokens) ids.push_back(choice.id);
  return ids;
}

double GenerateResult::log_probability() const {
  return std::accumulate(tokens.begin(), tokens.end(), 0.0,
                         [](double sum, const TokenChoice& choice) { return sum + choice.log_probability; });
}

double GenerateResult::prompt_tokens_per_second() const {
  return rate(prompt_tokens - reused_tokens, prompt_seconds);
}

double GenerateResult::generate_tokens_per_second() const {
  return rate(static_cast<int64_t>(tokens.size()), generate_seconds);
}

struct Generator::State {
  State(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer, at::ScalarType kv_type)
      : model(model), tokenizer(std::move(tokenizer)), cache(model.config(), 1, model.device(), kv_type) {
    if (Decoder::supports(model)) decoder.emplace(model);
  }

  const Transformer& model;
  std::shared_ptr<const Tokenizer> tokenizer;
  KvCache cache;
  std::optional<Decoder> decoder;  // where there is one, it computes single tokens
  std::vector<TokenId> cached;     // the tokens behind the cache
  int64_t cached_experts = 0;      // with how many experts it was computed
  at::Tensor logits;               // [V] float32 on the CPU, of the last token computed

  int64_t context() const { return model.config().max_position_embeddings; }
  void check(const std::vector<TokenId>& ids, const GenerateOptions& options) const;
  int64_t reuse(const std::vector<TokenId>& ids, int64_t experts);
  bool compute(std::span<const TokenId> ids);
  std::span<const float> choices() const;
  TokenChoice choose(Sampler& sampler, std::span<const TokenId> history, int64_t alternatives) const;
};

void Generator::State::check(const std::vector<TokenId>& ids, const GenerateOptions& options) const {
  const int64_t vocabulary = model.config().vocab_size, experts = model.config().num_experts;
  if (ids.empty()) usage_error("the prompt is empty; give at least one character");
  if (static_cast<int64_t>(ids.size()) >= context()) {
    usage_error("the prompt is ", ids.size(), " tokens long; the model takes ", context(), " in all, so at most ",
                context() - 1, " before the answer");
  }
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocabulary) usage_error("token ", id, " is outside the model's vocabulary of ", vocabulary);
  }
  if (options.max_tokens < 1) usage_error("max-tokens is ", options.max_tokens, "; it must be at least 1");
  if (options.logprobs < 0 || options.logprobs > vocabulary) {
    usage_error("logprobs is ", options.logprobs, "; it must be between 0 and ", vocabulary);
  }
  if (options.num_experts_per_tok < 0 || options.num_experts_per_tok > std::max<int64_t>(1, experts)) {
    usage_error(options.num_experts_per_tok, " experts per token asked for; the model has ", experts);
  }
}

/// Cuts the cache back to what it shares with `ids`. At least the last token is left to compute, for its logits.
/// @return tokens of `ids` that need no computing
int64_t Generator::State::reuse(const std::vector<TokenId>& ids, int64_t experts) {
  const auto shared = std::mismatch(cached.begin(), cached.end(), ids.begin(), ids.end()).first - cached.begin();
  int64_t kept = std::min<int64_t>(shared, static_cast<int64_t>(ids.size()) - 1);
  if (experts != cached_experts || !cache.truncate(kept)) kept = 0;
  if (kept == 0) cache.clear();
  cached_experts = experts;
  cached.resize(static_cast<size_t>(kept));
  return kept;
}

/// Runs the tokens through the model; they continue the cache. @return false when interrupted on the way
bool Generator::State::compute(std::span<const TokenId> ids) {
  if (ids.size() == 1 && decoder) {
    logits = decoder->step(ids[0], cache, cached_experts);
    cached.push_back(ids[0]);
    return true;
  }
  ForwardOptions forward;
  forward.kv_cache = &cache;
  forward.num_experts_per_tok = cached_experts;
  for (size_t done = 0; done < ids.size();) {
    const auto chunk = ids.subspan(done, pass_length(ids.size() - done, model.device().is_cpu()));
    at::Tensor tokens = at::empty({1, static_cast<int64_t>(chunk.size())}, at::kLong);
    std::copy(chunk.begin(), chunk.end(), tokens.mutable_data_ptr<int64_t>());
    done += chunk.size();
    forward.last_tokens = done == ids.size() ? 1 : 0;
    const at::Tensor hidden = model.hidden_states(tokens.to(model.device()), forward);
    cached.insert(cached.end(), chunk.begin(), chunk.end());
    if (done == ids.size()) {
      logits = model.logits(hidden).reshape(-1).to(at::kCPU, at::kFloat).contiguous();
    } else if (InterruptGuard::requested()) {
      return false;
    }
  }
  return true;
}

/// Logits of the tokens that can be written: a vocabulary may be padded beyond what the tokenizer knows.
std::span<const float> Generator::State::choices() const {
  const int64_t known = std::min(logits.numel(), tokenizer->vocab_size());
  return {logits.const_data_ptr<float>(), static_cast<size_t>(known)};
}

TokenChoice Generator::State::choose(Sampler& sampler, std::span<const TokenId> history, int64_t alternatives) const {
  const TokenId id = sampler.sample(choices(), history);
  const double normalizer = logits.logsumexp(0).item<double>();
  TokenChoice choice{id, choices()[static_cast<size_t>(id)] - normalizer, {}};
  if (alternatives > 0) choice.alternatives = best_tokens(choices(), normalizer, alternatives);
  return choice;
}

Generator::Generator(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer,
                     std::optional<at::ScalarType> kv_type)
    : state_(std::make_unique<State>(model, std::move(tokenizer), kv_type.value_or(default_kv_type(model)))) {}

Generator::~Generator() = default;

const Transformer& Generator::model() const {
  return state_->model;
}
int64_t Generator::cached_tokens() const {
  return state_->cache.length();
}
int64_t Generator::cache_bytes() const {
  return state_->cache.bytes();
}

namespace {

/// The text of one answer: decoded, cut at stop texts, shown as it becomes certain.
class Answer {
 public:
  Answer(const Tokenizer& tokenizer, const GenerateOptions& options,
         const std::function<bool(const std::string&)>& show, std::string& text)
      : decoder_(tokenizer, options.keep_special), stop_(options.stop_texts), show_(show), text_(text) {}

  /// @return false when whoever looks on wants no more
  bool push(TokenId id) { return emit(stop_.push(decoder_.push(id))); }
  bool stopped() const { return stop_.stopped(); }
  void finish() {
    emit(stop_.push(decoder_.finish()));
    emit(stop_.finish());
  }

 private:
  bool emit(const std::string& piece) {
    text_ += piece;
    return piece.empty() || !show_ || show_(piece);
  }

  StreamDecoder decoder_;
  StopText stop_;
  const std::function<bool(const std::string&)>& show_;
  std::string& text_;
};

}  // namespace

GenerateResult Generator::generate(const std::vector<TokenId>& ids, const GenerateOptions& options,
                                   const std::function<bool(const std::string&)>& on_text) {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  state.check(ids, options);
  Sampler sampler(options.sampling);
  GenerateResult result;
  Answer answer(*state.tokenizer, options, on_text, result.text);
  const std::set<TokenId> ends(options.stop_tokens.begin(), options.stop_tokens.end());
  // What was asked or shown. A special token was neither, and making the end of a text less probable because an earlier
  // one ended, or this one began, would only make texts longer.
  const auto counts = [&](TokenId id) { return !ends.contains(id) && !state.tokenizer->is_special(id); };
  std::vector<TokenId> seen;
  std::ranges::copy_if(ids, std::back_inserter(seen), counts);

  result.prompt_tokens = static_cast<int64_t>(ids.size());
  const int64_t configured = state.model.config().num_experts_per_tok;
  result.reused_tokens = state.reuse(ids, options.num_experts_per_tok > 0 ? options.num_experts_per_tok : configured);
  const Stopwatch prompt_time;
  const bool computed = state.compute(std::span(ids).subspan(static_cast<size_t>(result.reused_tokens)));
  result.prompt_seconds = prompt_time.seconds();

  const Stopwatch generate_time;
  if (!computed) result.finish_reason = "interrupted";
  while (result.finish_reason.empty()) {
    TokenChoice choice = state.choose(sampler, seen, options.logprobs);
    if (ends.contains(choice.id)) {
      result.stop_token = choice.id;
      result.finish_reason = "stop";
      break;
    }
    const TokenId id = choice.id;
    if (counts(id)) seen.push_back(id);
    result.tokens.push_back(std::move(choice));
    const bool wanted = answer.push(id);
    if (answer.stopped()) {
      result.finish_reason = "stop";
    } else if (!wanted || InterruptGuard::requested()) {
      result.finish_reason = "interrupted";
    } else if (static_cast<int64_t>(result.tokens.size()) == options.max_tokens) {
      result.finish_reason = "length";
    } else if (static_cast<int64_t>(ids.size() + result.tokens.size()) == state.context()) {
      result.finish_reason = "context";
    } else {
      state.compute({&id, 1});
    }
  }
  answer.finish();
  result.stopped_by_text = answer.stopped();
  result.generate_seconds = generate_time.seconds();
  return result;
}

}  // namespace xinslm
