#include "tokenizer/piece_model.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <unordered_set>

#include "tokenizer/sentencepiece_text.h"
#include "tokenizer/words.h"
#include "xinslm/core/error.h"
#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

/// Fields of one protocol buffers message, in the order of the bytes (protobuf.dev, "Encoding").
class MessageReader {
 public:
  MessageReader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  /// Goes to the next field; false at the end.
  bool next() {
    if (bytes_.empty()) return false;
    const uint64_t key = varint();
    number_ = static_cast<uint32_t>(key >> 3);
    type_ = static_cast<uint32_t>(key & 7);
    switch (type_) {
      case 0:
        value_ = varint();
        break;
      case 1:
        content_ = take(8);
        break;
      case 2:
        content_ = take(varint());
        break;
      case 5:
        content_ = take(4);
        break;
      default:
        damaged();
    }
    return true;
  }

  uint32_t number() const { return number_; }
  uint64_t integer() const { return type_ == 0 ? value_ : damaged(); }
  bool boolean() const { return integer() != 0; }
  std::string_view content() const {
    if (type_ != 2) damaged();
    return content_;
  }
  float real() const {
    if (type_ != 5) damaged();
    uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<uint8_t>(content_[i]);
    return std::bit_cast<float>(bits);
  }
  MessageReader message() const { return {content(), where_}; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size()) damaged();
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  [[noreturn]] uint64_t damaged() const {
    data_error(where_, ": not a SentencePiece model, or a damaged one; train one with: xinslm tokenizer train");
  }

  std::string_view bytes_, content_;
  const std::string& where_;
  uint32_t number_ = 0, type_ = 0;
  uint64_t value_ = 0;
};

Piece read_piece(MessageReader message, const std::string& where) {
  Piece piece;
  while (message.next()) {
    if (message.number() == 1) piece.text = message.content();
    if (message.number() == 2) piece.score = message.real();
    if (message.number() == 3) {
      const uint64_t type = message.integer();
      if (type < 1 || type > 6) data_error(where, ": piece of unknown type ", type, "; the file is damaged or too new");
      piece.type = static_cast<PieceType>(type);
    }
  }
  return piece;
}

void read_trainer(MessageReader message, PieceModel& model) {
  while (message.next()) {
    if (message.number() == 3) model.bpe = message.integer() == 2;
    if (message.number() == 24) model.whitespace_as_suffix = message.boolean();
    if (message.number() == 35) model.byte_fallback = message.boolean();
  }
}

void read_normalizer(MessageReader message, PieceModel& model) {
  while (message.next()) {
    if (message.number() == 2) model.changes_characters |= !message.content().empty();
    if (message.number() == 3) model.add_dummy_prefix = message.boolean();
    if (message.number() == 4) model.remove_extra_whitespaces = message.boolean();
    if (message.number() == 5) model.escape_whitespaces = message.boolean();
  }
}

void read_denormalizer(MessageReader message, PieceModel& model) {
  while (message.next()) {
    if (message.number() == 2) model.changes_characters |= !message.content().empty();
  }
}

std::optional<std::string_view> inexact_setting(const PieceModel& model) {
  if (!model.byte_fallback) return "has no byte fallback";
  if (model.changes_characters) return "normalises characters";
  if (model.add_dummy_prefix) return "adds a space before the text";
  if (model.remove_extra_whitespaces) return "removes spaces";
  if (!model.escape_whitespaces || model.whitespace_as_suffix) return "treats spaces in another way";
  return std::nullopt;
}

}  // namespace

PieceModel read_piece_model(std::string_view bytes, const std::string& where) {
  PieceModel model;
  MessageReader message(bytes, where);
  while (message.next()) {
    if (message.number() == 1) model.pieces.push_back(read_piece(message.message(), where));
    if (message.number() == 2) read_trainer(message.message(), model);
    if (message.number() == 3) read_normalizer(message.message(), model);
    if (message.number() == 5) read_denormalizer(message.message(), model);
  }
  if (model.pieces.empty()) data_error(where, ": not a SentencePiece model: it holds no pieces");
  return model;
}

int byte_of_piece(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

void require_exact(const PieceModel& model, const std::string& where) {
  if (const auto setting = inexact_setting(model)) {
    data_error(where, ": this SentencePiece model ", *setting,
               ", so it cannot give every text back as it was; use one made by: xinslm tokenizer train");
  }
  std::unordered_set<std::string_view> seen;
  std::array<bool, 256> byte_found{};
  int unknown_pieces = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const bool sound = !piece.text.empty() && is_valid_utf8(piece.text) && piece.text.find('\0') == std::string::npos &&
                       std::isfinite(piece.score) && seen.insert(piece.text).second;
    if (!sound) data_error(where, ": piece ", id, " is empty, repeated or damaged");
    if (piece.type == PieceType::unknown) ++unknown_pieces;
    if (piece.type == PieceType::byte) {
      const int byte = byte_of_piece(piece.text);
      if (byte < 0) data_error(where, ": piece ", id, " is \"", piece.text, "\", expected a byte such as <0x41>");
      byte_found[byte] = true;
    }
    const bool learned = piece.type == PieceType::normal || piece.type == PieceType::unused;
    if (learned && !is_one_word(text_of_piece(piece.text))) {
      data_error(where, ": piece ", id, " \"", piece.text,
                 "\" reaches across words as this program cuts them; use a model made by: xinslm tokenizer train");
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (!byte_found[byte]) data_error(where, ": there is no piece for byte ", byte, "; the file is damaged");
  }
  if (unknown_pieces != 1) data_error(where, ": ", unknown_pieces, " unknown pieces, expected 1; the file is damaged");
}

}  // namespace xinslm
