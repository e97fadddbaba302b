#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/hash.h"
#include "xinslm/eval/items.h"
#include "xinslm/eval/task.h"
#include "xinslm/eval/text.h"

namespace xinslm {
namespace {

using Clock = std::chrono::steady_clock;

TaskResult finish(TaskResult result, const std::filesystem::path& file, Clock::time_point start) {
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  result.file = file;
  result.file_sha256 = sha256_file(file);
  return result;
}

/// What the answers of one item score: summed log-probability, and the characters it stands for.
struct AnswerScore {
  double log_probability;
  double characters;
};

/// Scores every answer of every item.
std::vector<std::vector<AnswerScore>> score_answers(const Scorer& scorer, const std::vector<ChoiceItem>& items,
                                                    const ShowProgress& progress) {
  std::vector<ScoreRequest> requests;
  const auto answers = [](const ChoiceItem& item) { return std::max(item.contexts.size(), item.continuations.size()); };
  const auto pick = [](const std::vector<std::string>& texts, size_t i) {
    return texts.size() == 1 ? texts[0] : texts[i];
  };
  for (const ChoiceItem& item : items) {
    for (size_t i = 0; i < answers(item); ++i) {
      requests.push_back(scorer.request(pick(item.contexts, i), pick(item.continuations, i)));
    }
  }
  const std::vector<Score> scores = scorer.score(requests, progress);
  std::vector<std::vector<AnswerScore>> result;
  size_t next = 0;
  for (const ChoiceItem& item : items) {
    std::vector<AnswerScore>& list = result.emplace_back();
    for (size_t i = 0; i < answers(item); ++i) {
      // The blank between context and ending is not part of the ending.
      const double characters = static_cast<double>(count_characters(pick(item.continuations, i)) - 1);
      list.push_back({scores[next++].log_probability, characters});
    }
  }
  return result;
}

/// Share of items whose right answer has the highest value; the first of equals counts as chosen.
template <class Value>
Metric accuracy(const std::string& name, const std::vector<ChoiceItem>& items,
                const std::vector<std::vector<AnswerScore>>& scores, const Value& value) {
  std::vector<double> right;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto best = std::ranges::max_element(scores[i], {}, value);
    right.push_back(static_cast<size_t>(best - scores[i].begin()) == items[i].right);
  }
  const Estimate share = estimate(right);
  return {name, share.value, share.standard_error, true};
}

double per_character(const AnswerScore& score) {
  return score.log_probability / std::max(1.0, score.characters);
}

}  // namespace

TaskResult run_hellaswag(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                         const ShowProgress& progress) {
  const auto start = Clock::now();
  const std::vector<ChoiceItem> items = read_hellaswag(file, limit);
  const auto scores = score_answers(scorer, items, progress);
  TaskResult result{"hellaswag", "lm-evaluation-harness hellaswag, 0-shot", {}, 0, 0, {}, {}};
  result.items = static_cast<int64_t>(items.size());
  result.metrics = {accuracy("acc", items, scores, &AnswerScore::log_probability),
                    accuracy("acc_norm", items, scores, per_character)};
  return finish(std::move(result), file, start);
}

TaskResult run_winogrande(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                          const ShowProgress& progress) {
  const auto start = Clock::now();
  const std::vector<ChoiceItem> items = read_winogrande(file, limit);
  const auto scores = score_answers(scorer, items, progress);
  TaskResult result{"winogrande", "lm-evaluation-harness winogrande (partial scoring), 0-shot", {}, 0, 0, {}, {}};
  result.items = static_cast<int64_t>(items.size());
  result.metrics = {accuracy("acc", items, scores, &AnswerScore::log_probability)};
  return finish(std::move(result), file, start);
}

TaskResult run_lambada(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                       const ShowProgress& progress) {
  const auto start = Clock::now();
  std::vector<ScoreRequest> requests;
  for (const LambadaItem& item : read_lambada(file, limit))
    requests.push_back(scorer.request(item.context, item.target));
  std::vector<double> right, surprise;
  for (const Score& score : scorer.score(requests, progress)) {
    right.push_back(score.greedy);
    surprise.push_back(-score.log_probability);
  }
  const Estimate share = estimate(right), loss = estimate(surprise);
  TaskResult result{"lambada", "lm-evaluation-harness lambada_openai, 0-shot", {}, 0, 0, {}, {}};
  result.items = share.count;
  const double perplexity = std::exp(loss.value);
  // The error of exp(x) is exp(x) times the error of x, to first order.
  result.metrics = {{"acc", share.value, share.standard_error, true},
                    {"perplexity", perplexity, perplexity * loss.standard_error, false}};
  return finish(std::move(result), file, start);
}

TaskResult run_wikitext(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                        const ShowProgress& progress) {
  const auto start = Clock::now();
  const std::string text = read_file(file);
  std::vector<std::string> pages = wikitext_pages(text);
  if (limit > 0 && static_cast<size_t>(limit) < pages.size()) pages.resize(static_cast<size_t>(limit));
  std::vector<ScoreRequest> requests;
  double words = 0, bytes = 0;
  for (const std::string& page : pages) {
    const std::vector<TokenId> tokens = scorer.tokenizer().encode(wikitext_detokenize(page));
    const int64_t longest = scorer.max_length();
    for (ScoreRequest& window : rolling_windows(tokens, scorer.tokenizer().end_of_text(), longest, longest)) {
      requests.push_back(std::move(window));
    }
    words += static_cast<double>(count_pieces(page));
    bytes += static_cast<double>(page.size());
  }
  if (requests.empty()) data_error(file.string(), ": has no text");
  double loss = 0;
  for (const Score& score : scorer.score(requests, progress)) loss -= score.log_probability;
  TaskResult result{"wikitext", "lm-evaluation-harness wikitext (pages, detokenised)", {}, 0, 0, {}, {}};
  if (text.find("<unk>") != std::string::npos)
    result.protocol += ", but on the word-level text with <unk>, not the raw one";
  result.items = static_cast<int64_t>(pages.size());
  result.metrics = {{"word_perplexity", std::exp(loss / words), -1, false},
                    {"byte_perplexity", std::exp(loss / bytes), -1, false},
                    {"bits_per_byte", loss / bytes / std::numbers::ln2, -1, false}};
  return finish(std::move(result), file, start);
}

}  // namespace xinslm
