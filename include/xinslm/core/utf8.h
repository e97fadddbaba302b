#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace xinslm {

enum class Utf8State {
  valid,       ///< a whole character
  incomplete,  ///< the text ends inside what can still become a character
  invalid,     ///< no character can start here
};

struct Utf8Character {
  Utf8State state;
  uint32_t code;  ///< the code point of a valid character, else 0
  size_t length;  ///< bytes: of the valid character, of the incomplete rest, or 1 for an invalid byte
};

/// The character at the start of a text that is not empty, by the table of well-formed byte sequences (Unicode 15,
/// table 3-7): overlong forms, surrogates and code points above U+10FFFF are invalid.
Utf8Character read_utf8(std::string_view text);

bool is_valid_utf8(std::string_view text);

/// What speaks against the bytes being text, as the end of a sentence about their file: "holds 12 NUL bytes, the first
/// at byte 4". "" for text, a stray invalid byte or an accent in Latin-1 included. Looks for NUL bytes everywhere, and
/// at the first megabyte's characters.
std::string describe_binary(std::string_view bytes);

}  // namespace xinslm
