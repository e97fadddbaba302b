#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xinslm {

using TokenId = int32_t;

/// Turns bytes into token ids and back. Implementations are immutable and may be shared between threads.
/// decode(encode(text)) == text for every byte string, valid UTF-8 or not.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual int64_t vocab_size() const = 0;

  /// Special tokens in the text are plain text unless allow_special is set; no token is added at either end.
  virtual std::vector<TokenId> encode(std::string_view text, bool allow_special = false) const = 0;

  /// The bytes of one token; special tokens give their name. @throws Error(usage) for an id outside the vocabulary
  virtual std::string token_bytes(TokenId id) const = 0;

  /// Id of a special token by its text, for example "<|start|>".
  virtual std::optional<TokenId> special_id(std::string_view name) const = 0;
  virtual bool is_special(TokenId id) const = 0;

  /// Writes the tokenizer's files into a model folder.
  virtual void save(const std::filesystem::path& folder) const = 0;

  /// Changes with every difference that could change ids: keys token caches.
  virtual std::string fingerprint() const = 0;

  /// Concatenated bytes of the tokens; special tokens are dropped unless keep_special is set.
  std::string decode(std::span<const TokenId> ids, bool keep_special = false) const;

  /// Token that starts and separates documents ("<|endoftext|>"). @throws Error(data) when the tokenizer has none
  TokenId end_of_text() const;
};

/// Opens the tokenizer in a model folder, or a tokenizer.model file. @throws Error(data) naming what was looked for
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// Text as it comes: holds bytes back until they form whole UTF-8 characters (invalid bytes pass when they are certain
/// to be invalid), so a terminal never sees half a character.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool keep_special = false);
  /// The text that became complete with this token.
  std::string push(TokenId id);
  /// What is left at the end of the stream.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool keep_special_;
  std::string pending_;
};

}  // namespace xinslm
