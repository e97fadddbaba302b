#include "xinslm/eval/perplexity.h"

#include <chrono>
#include <cmath>
#include <numbers>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/hash.h"
#include "xinslm/data/corpus.h"
#include "xinslm/data/training_data.h"
#include "xinslm/eval/text.h"

namespace xinslm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool is_plain_text(const std::filesystem::path& file) {
  return file.extension() != ".gz" && file.extension() != ".jsonl" && file.extension() != ".json";
}

CorpusOptions corpus_of(const std::filesystem::path& file, const PerplexityOptions& options) {
  CorpusOptions corpus;
  corpus.inputs = {file.string()};
  corpus.line_end = options.line_end;
  // Reading by documents drops the line breaks around them: a text without separators is read to the last byte.
  const bool separated =
      !is_plain_text(file) || MappedFile(file).text().find(options.separator) != std::string_view::npos;
  if (separated) corpus.separator = options.separator;
  return corpus;
}

struct Text {
  std::vector<TokenId> tokens;
  std::vector<size_t> begins;  ///< of the documents, whose end of text is their last token; the last one has none
  int64_t words = 0, bytes = 0;
};

Text read_text(const Tokenizer& tokenizer, const CorpusOptions& corpus) {
  Text text;
  const auto reader = open_corpus(corpus);
  bool begins = true;
  for (DocumentPart part; reader->next(part);) {
    if (!part.messages.empty()) {
      data_error(part.where, ": a dialogue; perplexity is measured over texts, {\"text\": ...} lines or plain files");
    }
    if (begins) {
      if (!text.tokens.empty()) text.tokens.push_back(tokenizer.end_of_text());
      text.begins.push_back(text.tokens.size());
    }
    begins = part.last;
    const std::vector<TokenId> ids = tokenizer.encode(part.text);
    text.tokens.insert(text.tokens.end(), ids.begin(), ids.end());
    text.words += count_words(part.text);  // parts are cut before a blank, never inside a word
    text.bytes += static_cast<int64_t>(part.text.size());
  }
  return text;
}

/// Windows over all of the text, or over each document by itself.
std::vector<ScoreRequest> windows_of(const Text& text, TokenId prefix, const PerplexityResult& how, bool by_document) {
  if (!by_document) return rolling_windows(text.tokens, prefix, how.context, how.stride);
  std::vector<ScoreRequest> windows;
  for (size_t i = 0; i < text.begins.size(); ++i) {
    const size_t end = i + 1 < text.begins.size() ? text.begins[i + 1] : text.tokens.size();
    const auto first = text.tokens.begin();
    const std::vector<TokenId> document(first + static_cast<ptrdiff_t>(text.begins[i]),
                                        first + static_cast<ptrdiff_t>(end));
    for (ScoreRequest& window : rolling_windows(document, prefix, how.context, how.stride)) {
      windows.push_back(std::move(window));
    }
  }
  return windows;
}

}  // namespace

double PerplexityResult::perplexity() const {
  return std::exp(nll_sum / static_cast<double>(tokens));
}
double PerplexityResult::word_perplexity() const {
  return std::exp(nll_sum / static_cast<double>(words));
}
double PerplexityResult::bits_per_byte() const {
  return nll_sum / static_cast<double>(bytes) / std::numbers::ln2;
}

std::vector<TokenId> text_tokens(const Tokenizer& tokenizer, const std::filesystem::path& file,
                                 const PerplexityOptions& options) {
  Text text = read_text(tokenizer, corpus_of(file, options));
  if (text.tokens.empty()) data_error(file.string(), ": has no text to score");
  return std::move(text.tokens);
}

PerplexityResult measure_perplexity(const Scorer& scorer, const std::filesystem::path& file,
                                    const PerplexityOptions& options, const ShowProgress& progress) {
  const auto start = Clock::now();
  const Text text = read_text(scorer.tokenizer(), corpus_of(file, options));
  if (text.tokens.empty()) data_error(file.string(), ": has no text to score");
  PerplexityResult result;
  result.context = scorer.max_length();
  result.stride = options.stride > 0 ? options.stride : result.context;
  const auto windows = windows_of(text, scorer.tokenizer().end_of_text(), result, options.document_attention);
  for (const Score& score : scorer.score(windows, progress)) result.nll_sum -= score.log_probability;
  result.tokens = static_cast<int64_t>(text.tokens.size());
  result.words = text.words;
  // Line ends that were replaced and separators that became a token stand for bytes of the file all the same.
  result.bytes = is_plain_text(file) ? static_cast<int64_t>(std::filesystem::file_size(file)) : text.bytes;
  result.seconds = seconds_since(start);
  result.file = file;
  result.file_sha256 = sha256_file(file);
  return result;
}

PerplexityResult measure_run_perplexity(const Scorer& scorer, const Settings& run, const ShowProgress& progress) {
  const auto start = Clock::now();
  const auto tokenizer = std::shared_ptr<const Tokenizer>(&scorer.tokenizer(), [](const Tokenizer*) {});
  const TrainingData data = open_training_data(run, tokenizer);
  if (!data.validation) data_error("the run held no text out; name a file with --data");
  PerplexityResult result;
  result.context = result.stride = run.training.max_seq_length;
  for (int64_t index = 0; index < data.validation->batches(); ++index) {
    const Batch batch = data.validation->batch(index);
    result.nll_sum -= scorer.score_batch(batch);
    result.tokens += batch.target_tokens;
    if (progress) progress(static_cast<double>(index + 1) / static_cast<double>(data.validation->batches()));
  }
  if (result.tokens == 0) data_error("the run held no text out; name a file with --data");
  result.words = data.validation->size().words;
  result.bytes = data.validation->size().bytes;
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace xinslm
