#pragma once
#include <string>
#include <string_view>

namespace xinslm {

/// SentencePiece writes a space as U+2581.
inline constexpr std::string_view kSpacePiece = "\xE2\x96\x81";

/// The text a learned piece stands for.
inline std::string text_of_piece(std::string_view piece) {
  std::string text;
  text.reserve(piece.size());
  while (!piece.empty()) {
    const bool space = piece.starts_with(kSpacePiece);
    text += space ? ' ' : piece[0];
    piece.remove_prefix(space ? kSpacePiece.size() : 1);
  }
  return text;
}

/// The token that stands for "not in the vocabulary". SentencePiece wants one; byte fallback never needs it. Its usual
/// name, <unk>, is left to texts that hold that word.
inline constexpr std::string_view kUnknownPiece = "<|unknown|>";

}  // namespace xinslm
