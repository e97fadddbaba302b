#include "tokenizer/words.h"

#include <array>

#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

enum class Kind : unsigned char { space, newline, letter, digit, apostrophe, mark, raw };

constexpr std::array<Kind, 128> kAsciiKinds = [] {
  std::array<Kind, 128> kinds{};
  for (int c = 0; c < 128; ++c) {
    if (c == ' ') {
      kinds[c] = Kind::space;
    } else if (c == '\n' || c == '\r') {
      kinds[c] = Kind::newline;
    } else if (c < 32 || c == 127) {
      kinds[c] = Kind::raw;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      kinds[c] = Kind::letter;
    } else if (c >= '0' && c <= '9') {
      kinds[c] = Kind::digit;
    } else {
      kinds[c] = c == '\'' ? Kind::apostrophe : Kind::mark;
    }
  }
  return kinds;
}();

/// Beyond ASCII everything is a letter but the blocks that hold signs alone: scripts without spaces and combining marks
/// need no table that way.
Kind kind_of(uint32_t code) {
  const auto within = [code](uint32_t first, uint32_t last) { return code >= first && code <= last; };
  if (code == 0x2581 || code == 0x2585 || code == 0xFFFD) return Kind::raw;
  if (within(0x80, 0x9F) || within(0xFDD0, 0xFDEF) || (code & 0xFFFE) == 0xFFFE) return Kind::raw;
  if (code == 0x2019) return Kind::apostrophe;
  if (code == 0xAA || code == 0xB5 || code == 0xBA) return Kind::letter;
  if (within(0xA0, 0xBF) || code == 0xD7 || code == 0xF7) return Kind::mark;
  if (within(0x2000, 0x2BFF) || within(0x2E00, 0x2E7F)) return Kind::mark;                    // signs, arrows, drawing
  if (within(0x3000, 0x3004) || within(0x3008, 0x3020) || code == 0x30FB) return Kind::mark;  // CJK punctuation
  if (within(0xFF10, 0xFF19)) return Kind::digit;
  if (within(0xFE30, 0xFE6F) || within(0xFF01, 0xFF20) || within(0xFF3B, 0xFF40)) return Kind::mark;
  if (within(0xFF5B, 0xFF65) || within(0x1F000, 0x1FAFF)) return Kind::mark;  // full-width signs, pictographs
  return Kind::letter;
}

bool stay_together(Kind left, Kind right) {
  switch (left) {
    case Kind::space:
      return right != Kind::raw;
    case Kind::letter:
      return right == Kind::letter;
    case Kind::apostrophe:
      return right == Kind::letter || right == Kind::apostrophe || right == Kind::mark || right == Kind::newline;
    case Kind::mark:
      return right == Kind::mark || right == Kind::apostrophe || right == Kind::newline;
    case Kind::newline:
      return right == Kind::newline;
    case Kind::digit:
      return false;
    case Kind::raw:
      return right == Kind::raw;
  }
  return false;
}

struct Character {
  Kind kind;
  size_t length;
};

Character first_character(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text[0]);
  if (byte < 128) return {kAsciiKinds[byte], 1};
  const Utf8Character character = read_utf8(text);
  if (character.state != Utf8State::valid) return {Kind::raw, 1};
  return {kind_of(character.code), character.length};
}

}  // namespace

Word first_word(std::string_view text) {
  const Character first = first_character(text);
  Kind kind = first.kind;
  size_t length = first.length;
  while (length < text.size()) {
    const Character next = first_character(text.substr(length));
    if (!stay_together(kind, next.kind) || length + next.length > kLongestWord) break;
    kind = next.kind;
    length += next.length;
  }
  return {length, first.kind == Kind::raw};
}

bool is_one_word(std::string_view text) {
  if (text.empty()) return false;
  const Word word = first_word(text);
  return !word.raw && word.length == text.size();
}

}  // namespace xinslm
