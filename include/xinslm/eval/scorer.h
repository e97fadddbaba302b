#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xinslm/data/batch.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// How probable is `continuation` after `context`?
struct ScoreRequest {
  std::vector<TokenId> context;       ///< at least one token
  std::vector<TokenId> continuation;  ///< at least one token
};

struct Score {
  double log_probability = 0;  ///< nats, summed over the continuation
  bool greedy = false;         ///< every token of the continuation is the most probable one
};

/// Called with the share of the work that is done, 0 to 1.
using ShowProgress = std::function<void(double)>;

/// Scores texts under a model, many at a time.
class Scorer {
 public:
  struct Options {
    int64_t num_experts_per_tok = 0;  ///< 0 = configured
    int64_t max_length = 0;           ///< tokens the model sees at once; 0 = all its positions
    int64_t batch_tokens = 4096;      ///< tokens of one pass
  };

  /// The model must outlive the scorer. @throws Error(usage) for options the model does not have
  Scorer(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer, const Options& options);

  int64_t max_length() const { return options_.max_length; }
  const Transformer& model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  /// Tokens of a context and its continuation, split as lm-evaluation-harness splits them: white space at the end of
  /// the context moves to the continuation, both are encoded together, and what exceeds the context's own tokens is the
  /// continuation. An empty context becomes the end-of-text token.
  /// @throws Error(data) when the continuation has no token of its own
  ScoreRequest request(std::string context, std::string continuation) const;

  /// Scores in the order of the requests. A context that does not fit loses its beginning. Requests with one context
  /// share its computing.
  /// @throws Error(data) for a continuation longer than max_length
  std::vector<Score> score(const std::vector<ScoreRequest>& requests, const ShowProgress& progress = {}) const;

  /// Summed log-probability (nats) of the batch's targets that count, in the rows and documents it has.
  double score_batch(const Batch& batch) const;

 private:
  friend class ScoreBatches;
  const Transformer& model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Options options_;
};

/// Windows that score every token of a text once, as lm-evaluation-harness forms them: the first begins with `prefix`;
/// each continues with `stride` new tokens that see up to max_length - stride earlier ones; the last reaches back as
/// far as it may.
/// @param stride  1...max_length; max_length = windows that do not overlap (the harness)
std::vector<ScoreRequest> rolling_windows(const std::vector<TokenId>& tokens, TokenId prefix, int64_t max_length,
                                          int64_t stride);

}  // namespace xinslm
