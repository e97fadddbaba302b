#pragma once
#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizer/piece_model.h"
#include "tokenizer/sentencepiece_library.h"
#include "tokenizer/symbols.h"
#include "tokenizer/word_cache.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// A SentencePiece vocabulary (BPE or unigram) with an exact round trip.
///
/// SentencePiece alone loses bytes: it reads invalid UTF-8 as U+FFFD and a literal U+2581 as a space. Here the text is
/// cut into words (words.h); what it would lose becomes byte tokens, and the tokens of each word are compared with the
/// word before they are used. Time is linear in the text and memory does not depend on it.
///
/// The saved tokenizer.model is a plain SentencePiece model: the sentencepiece library of any language gives the same
/// ids as encode(text), and the text back, for valid UTF-8 without U+2581, U+2585, U+FFFD, non-characters and NUL, in
/// which no word is longer than 256 bytes. For other texts only this class guarantees the round trip.
/// tokenizer_config.json lets transformers open a BPE vocabulary as LlamaTokenizer, with the same ids for such text; it
/// has no class that reads unigram models as they are, so those name none.
class SentencePieceTokenizer : public Tokenizer {
 public:
  /// @param serialized  content of a tokenizer.model
  /// @param where       named in errors, usually the file
  /// @throws Error(data) when the model is damaged or cannot give texts back exactly
  SentencePieceTokenizer(std::string serialized, const std::string& where);

  int64_t vocab_size() const override { return static_cast<int64_t>(token_bytes_.size()); }
  std::vector<TokenId> encode(std::string_view text, bool allow_special) const override;
  std::string token_bytes(TokenId id) const override;
  std::optional<TokenId> special_id(std::string_view name) const override;
  bool is_special(TokenId id) const override;
  void save(const std::filesystem::path& folder) const override;
  std::string fingerprint() const override;

 private:
  void add_token(const Piece& piece, TokenId id);
  void encode_plain(std::string_view text, std::vector<TokenId>& ids) const;
  std::vector<TokenId> encode_word(std::string_view word) const;
  bool spells(const std::vector<TokenId>& ids, std::string_view word) const;
  void append_bytes(std::string_view bytes, std::vector<TokenId>& ids) const;
  void require_id(TokenId id) const;

  std::string serialized_, hash_;
  bool bpe_ = false;
  std::unique_ptr<SentencePieceModel> library_model_;
  std::vector<std::string> token_bytes_;
  std::vector<bool> special_;
  std::unordered_map<std::string, TokenId> special_ids_;
  std::array<TokenId, 256> byte_ids_{};
  std::unique_ptr<SymbolMatcher> user_symbols_, all_symbols_;
  WordCache cache_;
};

}  // namespace xinslm
