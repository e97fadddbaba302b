#include "xinslm/core/utf8.h"

#include <algorithm>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

struct LeadByte {
  size_t length;      // 0: cannot start a character
  uint8_t low, high;  // range of the second byte, which alone depends on the first
  uint32_t payload;   // the code point's bits in the lead byte
};

LeadByte classify(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0, byte};
  if (byte < 0xC2) return {0, 0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF, byte & 0x1Fu};
  if (byte == 0xE0) return {3, 0xA0, 0xBF, 0};
  if (byte == 0xED) return {3, 0x80, 0x9F, 0xD};
  if (byte < 0xF0) return {3, 0x80, 0xBF, byte & 0x0Fu};
  if (byte == 0xF0) return {4, 0x90, 0xBF, 0};
  if (byte < 0xF4) return {4, 0x80, 0xBF, byte & 0x07u};
  if (byte == 0xF4) return {4, 0x80, 0x8F, 4};
  return {0, 0, 0, 0};
}

/// Share of the bytes that no character of the text is made of.
double invalid_share(std::string_view text) {
  const size_t bytes = text.size();
  size_t invalid = 0;
  while (!text.empty()) {
    const Utf8Character character = read_utf8(text);
    invalid += character.state == Utf8State::invalid;
    text.remove_prefix(character.length);
  }
  return bytes == 0 ? 0 : static_cast<double>(invalid) / static_cast<double>(bytes);
}

}  // namespace

Utf8Character read_utf8(std::string_view text) {
  const LeadByte lead = classify(static_cast<uint8_t>(text[0]));
  if (lead.length == 0) return {Utf8State::invalid, 0, 1};
  uint32_t code = lead.payload;
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8State::incomplete, 0, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {Utf8State::invalid, 0, 1};
    code = code << 6 | (byte & 0x3Fu);
  }
  return {Utf8State::valid, code, lead.length};
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character character = read_utf8(text);
    if (character.state != Utf8State::valid) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

std::string describe_binary(std::string_view bytes) {
  constexpr size_t looked_at = 1 << 20;
  // Compressed data has 45 % of invalid bytes, Cyrillic and Chinese encodings more; western ones 2 to 5 %.
  constexpr double most_invalid = 0.3;
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return "begins as UTF-16 does, not UTF-8";
  if (const size_t first = bytes.find('\0'); first != std::string_view::npos) {
    return cat("holds ", std::count(bytes.begin(), bytes.end(), '\0'), " NUL bytes, the first at byte ", first);
  }
  const double invalid = invalid_share(bytes.substr(0, looked_at));
  if (invalid <= most_invalid) return "";
  return cat("is not UTF-8: ", static_cast<int>(100 * invalid), " % of its bytes belong to no character");
}

}  // namespace xinslm
