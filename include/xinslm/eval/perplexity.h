#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/eval/scorer.h"

namespace xinslm {

/// The loss over a text and what it means per token, word and byte. Only the last two compare between tokenizers.
struct PerplexityResult {
  double nll_sum = 0;  ///< nats, over all tokens
  int64_t tokens = 0;  ///< scored, each once
  int64_t words = 0;   ///< stretches between white space, replaced line ends included
  int64_t bytes = 0;
  double seconds = 0;
  int64_t context = 0, stride = 0;
  std::filesystem::path file;  ///< empty when the text is not one file
  std::string file_sha256;

  double perplexity() const;
  double word_perplexity() const;
  double bits_per_byte() const;
};

struct PerplexityOptions {
  int64_t stride = 0;                       ///< new tokens of a window; 0 = max_length of the scorer
  std::string line_end;                     ///< replaces every end of line of a text file, for example " <eos> "
  std::string separator = "<|endoftext|>";  ///< line between documents of a text file
  bool document_attention = false;          ///< no document sees the one before it, as the model was trained
};

/// The tokens of a file, as measure_perplexity() scores them. @throws Error(data) when it is missing or without text
std::vector<TokenId> text_tokens(const Tokenizer& tokenizer, const std::filesystem::path& file,
                                 const PerplexityOptions& options);

/// Scores every token of a file once: text, JSON lines or either in gzip, read as training reads it. Documents are
/// joined by the end-of-text token, which also stands in front of the first.
/// @throws Error(data) when the file is missing, damaged or without text
PerplexityResult measure_perplexity(const Scorer& scorer, const std::filesystem::path& file,
                                    const PerplexityOptions& options, const ShowProgress& progress = {});

/// The same over the text that a training run held out, in the rows that it validates with.
/// @throws Error(data) when the run held nothing out or its text is gone
PerplexityResult measure_run_perplexity(const Scorer& scorer, const Settings& run, const ShowProgress& progress = {});

}  // namespace xinslm
