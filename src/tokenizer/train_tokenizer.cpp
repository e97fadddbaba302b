#include "xinslm/tokenizer/train_tokenizer.h"

#include <charconv>
#include <unordered_set>

#include "tokenizer/piece_model.h"
#include "tokenizer/sentencepiece_library.h"
#include "tokenizer/sentencepiece_text.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/word_counts.h"
#include "tokenizer/word_lines.h"
#include "xinslm/core/error.h"
#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

/// The tokens of harmony messages (openai/harmony docs/format.md) and those that bound documents.
constexpr const char* kControlTokens[] = {"<|startoftext|>", "<|endoftext|>", "<|return|>",
                                          "<|constrain|>",   "<|channel|>",   "<|start|>",
                                          "<|end|>",         "<|message|>",   "<|call|>"};
constexpr int64_t kByteTokens = 256;

void check_user_symbol(const std::string& symbol) {
  const auto reject = [&symbol](const char* reason) {
    usage_error("user symbol \"", symbol, "\" ", reason, "; choose another");
  };
  if (symbol.empty()) usage_error("a user symbol is empty; every symbol needs at least one character");
  if (!is_valid_utf8(symbol)) reject("is not valid UTF-8");
  if (symbol.find('\0') != std::string::npos) reject("holds a NUL byte");
  if (symbol.find('\t') != std::string::npos) reject("holds a tab");
  if (symbol.find(kSpacePiece) != std::string::npos) reject("holds U+2581, SentencePiece's sign for a space");
  if (byte_of_piece(symbol) >= 0 || symbol == kUnknownPiece) reject("is the name of a token that every vocabulary has");
  for (const char* control : kControlTokens) {
    if (symbol == control) reject("is the name of a token that every vocabulary has");
  }
}

void check_options(const TokenizerTrainingOptions& options) {
  std::unordered_set<std::string> seen;
  for (const std::string& symbol : options.user_symbols) {
    check_user_symbol(symbol);
    if (!seen.insert(symbol).second) usage_error("user symbol \"", symbol, "\" is given twice");
  }
  if (!(options.character_coverage > 0 && options.character_coverage <= 1)) {
    usage_error("character coverage is ", options.character_coverage, ", expected a share above 0 and at most 1");
  }
  const int64_t reserved = 1 + std::ssize(kControlTokens) + std::ssize(options.user_symbols) + kByteTokens;
  if (options.vocab_size <= reserved) {
    usage_error("vocabulary size ", options.vocab_size,
                " is too small: control tokens, user symbols and bytes alone take ", reserved, "; use at least ",
                reserved + 100);
  }
  constexpr int64_t kLargest = 1 << 24;
  if (options.vocab_size > kLargest) {
    usage_error("vocabulary size ", options.vocab_size, " is too large; the most is ", kLargest);
  }
}

/// A comma-separated list as SentencePiece reads it.
template <class List>
std::string comma_separated(const List& symbols) {
  std::string result;
  for (const std::string_view symbol : symbols) {
    if (!result.empty()) result += ',';
    result += '"';
    for (const char c : symbol) result.append(c == '"' ? 2 : 1, c);
    result += '"';
  }
  return result;
}

std::unordered_map<std::string, std::string> settings(const TokenizerTrainingOptions& options) {
  std::unordered_map<std::string, std::string> result{
      {"model_type", options.type == TokenizerType::bpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"input_format", "tsv"},
      // Exact: nothing is normalised, added or removed, and what is rare is spelt in bytes.
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"byte_fallback", "true"},
      {"character_coverage", cat(options.character_coverage)},
      // words.h has cut the text already.
      {"max_sentencepiece_length", "16"},
      {"split_by_unicode_script", "false"},
      {"split_by_number", "false"},
      {"split_by_whitespace", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"unk_piece", std::string(kUnknownPiece)},
      {"unk_id", "0"},
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_id", "-1"},
      {"control_symbols", comma_separated(kControlTokens)},
      // Sums of floats depend on how they are shared out, so the number of threads must not depend on the machine.
      {"num_threads", "8"},
      {"minloglevel", "3"},
  };
  if (!options.user_symbols.empty()) result["user_defined_symbols"] = comma_separated(options.user_symbols);
  return result;
}

/// The number after the last occurrence of a phrase in one of SentencePiece's messages.
std::optional<int64_t> number_after(std::string_view message, std::string_view phrase) {
  const size_t place = message.rfind(phrase);
  if (place == std::string_view::npos) return std::nullopt;
  message.remove_prefix(place + phrase.size());
  int64_t number = 0;
  const auto result = std::from_chars(message.data(), message.data() + message.size(), number);
  if (result.ec != std::errc{}) return std::nullopt;
  return number;
}

[[noreturn]] void explain(const TokenizerTrainingOptions& options, std::string_view message) {
  if (const auto largest = number_after(message, "value <= ")) {
    usage_error("vocabulary size ", options.vocab_size, " is too large for this text: the largest possible is ",
                *largest, "; use a smaller size or more text");
  }
  if (message.find("smaller than required_chars") != std::string_view::npos) {
    if (const auto smallest = number_after(message, " vs ")) {
      usage_error("vocabulary size ", options.vocab_size,
                  " is too small for this text: its characters and the reserved ", "tokens alone take ", *smallest,
                  "; use a larger size");
    }
  }
  runtime_failure("SentencePiece could not train a tokenizer: ", message);
}

}  // namespace

TokenizerType parse_tokenizer_type(std::string_view name) {
  if (name == "bpe") return TokenizerType::bpe;
  if (name == "unigram") return TokenizerType::unigram;
  usage_error("tokenizer type is \"", name, "\", expected bpe or unigram");
}

std::shared_ptr<const Tokenizer> train_tokenizer(const TokenizerTrainingOptions& options, const TextSource& source) {
  check_options(options);
  WordCounts counts(options.user_symbols);
  while (const auto text = source()) counts.add(*text);
  auto words = counts.sorted();
  if (words.empty()) data_error("the training text for the tokenizer is empty; give it text in UTF-8");

  WordLines lines(std::move(words), options.type);
  std::string serialized;
  try {
    const std::string problem = sentencepiece_library().train(settings(options), lines, serialized);
    if (!problem.empty()) explain(options, problem);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    explain(options, error.what());
  }
  return std::make_shared<SentencePieceTokenizer>(std::move(serialized), "the trained tokenizer");
}

}  // namespace xinslm
