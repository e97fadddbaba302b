#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace xinslm {

/// Values of ModelProto.SentencePiece.Type.
enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

/// What a tokenizer.model says, as far as exact round trips depend on it (sentencepiece_model.proto; the defaults are
/// the schema's). The installed SentencePiece headers show neither the types of pieces nor the normaliser's settings.
struct PieceModel {
  std::vector<Piece> pieces;
  bool bpe = false;  ///< else unigram or another kind
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool changes_characters = false;  ///< a normaliser or denormaliser with a table of its own
};

/// @param where  named in errors, usually the file
/// @throws Error(data) when the bytes are not a SentencePiece model
PieceModel read_piece_model(std::string_view bytes, const std::string& where);

/// The byte of "<0x41>", or -1 for any other text.
int byte_of_piece(std::string_view text);

/// Checks what makes decode(encode(text)) == text possible: whole UTF-8 pieces without duplicates, one token for every
/// byte, no normalisation, and pieces that lie within words. @throws Error(data) saying what the file has instead
void require_exact(const PieceModel& model, const std::string& where);

}  // namespace xinslm
