#include "tokenizer/sentencepiece_tokenizer.h"

#include <limits>

#include "tokenizer/sentencepiece_text.h"
#include "tokenizer/words.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/hash.h"
#include "xinslm/core/json.h"

namespace xinslm {
SentencePieceTokenizer::SentencePieceTokenizer(std::string serialized, const std::string& where)
    : serialized_(std::move(serialized)), hash_(sha256(serialized_)) {
  const PieceModel model = read_piece_model(serialized_, where);
  require_exact(model, where);
  bpe_ = model.bpe;
  try {
    std::string problem;
    library_model_ = sentencepiece_library().load(serialized_, problem);
    if (!library_model_) data_error(where, ": not a usable SentencePiece model: ", problem);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    data_error(where, ": not a usable SentencePiece model: ", error.what());
  }
  std::vector<std::pair<std::string, TokenId>> user, all;
  for (TokenId id = 0; id < static_cast<TokenId>(model.pieces.size()); ++id) {
    const Piece& piece = model.pieces[id];
    add_token(piece, id);
    if (piece.type == PieceType::user_defined) user.emplace_back(piece.text, id);
    if (piece.type == PieceType::user_defined || piece.type == PieceType::control) all.emplace_back(piece.text, id);
  }
  user_symbols_ = std::make_unique<SymbolMatcher>(std::move(user));
  all_symbols_ = std::make_unique<SymbolMatcher>(std::move(all));
}

void SentencePieceTokenizer::add_token(const Piece& piece, TokenId id) {
  const bool special = piece.type == PieceType::control || piece.type == PieceType::unknown;
  special_.push_back(special);
  if (special) special_ids_.emplace(piece.text, id);
  if (piece.type == PieceType::byte) {
    const int byte = byte_of_piece(piece.text);
    byte_ids_[byte] = id;
    token_bytes_.emplace_back(1, static_cast<char>(byte));
  } else if (piece.type == PieceType::normal || piece.type == PieceType::unused) {
    token_bytes_.push_back(text_of_piece(piece.text));
  } else {
    token_bytes_.push_back(piece.text);
  }
}

std::vector<TokenId> SentencePieceTokenizer::encode(std::string_view text, bool allow_special) const {
  const SymbolMatcher& symbols = allow_special ? *all_symbols_ : *user_symbols_;
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 4 + 1);
  size_t start = 0;
  while (const auto symbol = symbols.find(text, start)) {
    encode_plain(text.substr(start, symbol->position - start), ids);
    ids.push_back(symbol->id);
    start = symbol->position + symbol->length;
  }
  encode_plain(text.substr(start), ids);
  return ids;
}

void SentencePieceTokenizer::encode_plain(std::string_view text, std::vector<TokenId>& ids) const {
  while (!text.empty()) {
    const Word word = first_word(text);
    const std::string_view bytes = text.substr(0, word.length);
    text.remove_prefix(word.length);
    if (word.raw) {
      append_bytes(bytes, ids);
    } else if (!cache_.append(bytes, ids)) {
      std::vector<TokenId> found = encode_word(bytes);
      ids.insert(ids.end(), found.begin(), found.end());
      cache_.add(bytes, std::move(found));
    }
  }
}

std::vector<TokenId> SentencePieceTokenizer::encode_word(std::string_view word) const {
  std::vector<int> found;
  const std::string problem = library_model_->encode(word, found);
  if (!problem.empty()) runtime_failure("SentencePiece cannot encode a word: ", problem);
  // What the library understood otherwise (rules for odd characters differ between its versions) goes byte by byte.
  std::vector<TokenId> ids(found.begin(), found.end());
  if (!spells(ids, word)) {
    ids.clear();
    append_bytes(word, ids);
  }
  return ids;
}

bool SentencePieceTokenizer::spells(const std::vector<TokenId>& ids, std::string_view word) const {
  for (const TokenId id : ids) {
    if (special_[id] || !word.starts_with(token_bytes_[id])) return false;
    word.remove_prefix(token_bytes_[id].size());
  }
  return word.empty();
}

void SentencePieceTokenizer::append_bytes(std::string_view bytes, std::vector<TokenId>& ids) const {
  for (const char c : bytes) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
}

void SentencePieceTokenizer::require_id(TokenId id) const {
  if (id < 0 || id >= vocab_size()) usage_error("token ", id, " is outside the vocabulary of ", vocab_size(), " ids");
}

std::string SentencePieceTokenizer::token_bytes(TokenId id) const {
  require_id(id);
  return token_bytes_[id];
}

std::optional<TokenId> SentencePieceTokenizer::special_id(std::string_view name) const {
  const auto found = special_ids_.find(std::string(name));
  if (found == special_ids_.end()) return std::nullopt;
  return found->second;
}

bool SentencePieceTokenizer::is_special(TokenId id) const {
  require_id(id);
  return special_[id];
}

void SentencePieceTokenizer::save(const std::filesystem::path& folder) const {
  Json config;
  if (bpe_) {
    config["tokenizer_class"] = "LlamaTokenizer";
    config["legacy"] = false;
  }
  config["add_prefix_space"] = false;
  config["add_bos_token"] = false;
  config["add_eos_token"] = false;
  config["clean_up_tokenization_spaces"] = false;
  config["spaces_between_special_tokens"] = false;
  config["unk_token"] = token_bytes_[library_model_->unknown_id()];
  if (special_id("<|startoftext|>")) config["bos_token"] = "<|startoftext|>";
  if (special_id("<|endoftext|>")) config["eos_token"] = config["pad_token"] = "<|endoftext|>";
  config["model_max_length"] = std::numeric_limits<int32_t>::max();
  write_file(folder / "tokenizer.model", serialized_);
  write_json(folder / "tokenizer_config.json", config);
}

std::string SentencePieceTokenizer::fingerprint() const {
  // The number stands for the rules of words.h: raise it when they change.
  return "sentencepiece-1-" + hash_;
}

}  // namespace xinslm
