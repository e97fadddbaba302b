#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

enum class TokenizerType { bpe, unigram };

/// "bpe" or "unigram". @throws Error(usage) for anything else
TokenizerType parse_tokenizer_type(std::string_view name);

struct TokenizerTrainingOptions {
  int64_t vocab_size = 4096;  ///< all ids: control tokens, user symbols, 256 bytes, learned pieces
  TokenizerType type = TokenizerType::bpe;
  /// Share of the text's characters that get a piece of their own; rarer ones are spelt in bytes. Above 0, at most 1.
  double character_coverage = 0.9999;
  /// Kept whole wherever they stand in a text, for example "<unk>" and "<eos>" of WikiText.
  std::vector<std::string> user_symbols;
};

/// The next stretch of the training text, in any size (a line, a document, a file), or nothing at the end. No piece is
/// learned across two stretches. The view need only live until the next call.
using TextSource = std::function<std::optional<std::string_view>()>;

/// Learns a SentencePiece vocabulary. The same options and text give the same tokenizer, whatever the machine.
/// Memory grows with the number of different words, not with the length of the text.
///
/// Every vocabulary has the harmony control tokens, the user symbols and one token for each byte.
///
/// @throws Error(usage) when the text is too small for the vocabulary size (naming the largest possible), the size is
///         too small for the characters of the text (naming the smallest possible) or a user symbol cannot be used
/// @throws Error(data) when the source holds no text
std::shared_ptr<const Tokenizer> train_tokenizer(const TokenizerTrainingOptions& options, const TextSource& source);

}  // namespace xinslm
