#include "xinslm/eval/text.h"

#include "xinslm/core/utf8.h"

namespace xinslm {
namespace {

/// What Python's str.isspace() says of a code point.
bool is_space(uint32_t code) {
  if (code <= 0x20) return code == 0x20 || (code >= 0x09 && code <= 0x0d) || code >= 0x1c;
  return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
         code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

/// Length of the white space character at the start of the text, 0 when there is none.
size_t space_at_start(std::string_view text) {
  if (text.empty()) return 0;
  const Utf8Character character = read_utf8(text);
  return character.state == Utf8State::valid && is_space(character.code) ? character.length : 0;
}

/// Calls visit(code, bytes) for every character; an invalid byte is given as code 0xfffd.
template <class Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const Utf8Character character = read_utf8(text);
    visit(character.state == Utf8State::valid ? character.code : 0xfffdu, text.substr(0, character.length));
    text.remove_prefix(character.length);
  }
}

bool is_upper(uint32_t code) {
  return (code >= 'A' && code <= 'Z') || (code >= 0xc0 && code <= 0xde && code != 0xd7);
}
bool is_lower(uint32_t code) {
  return (code >= 'a' && code <= 'z') || (code >= 0xe0 && code <= 0xfe && code != 0xf7);
}

/// A letter of ASCII or Latin-1 moved by 32 to its other case; both take as many bytes.
std::string shifted(std::string_view bytes, int by) {
  std::string result(bytes);
  result.back() = static_cast<char>(result.back() + by);
  return result;
}

}  // namespace

std::string_view trim_end(std::string_view text) {
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
    const size_t space = space_at_start(text.substr(start));
    if (space == 0 || start + space != text.size()) break;
    text.remove_suffix(space);
  }
  return text;
}

std::string_view trim(std::string_view text) {
  while (const size_t space = space_at_start(text)) text.remove_prefix(space);
  return trim_end(text);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  size_t done = 0;
  for (size_t found; (found = text.find(from, done)) != std::string_view::npos; done = found + from.size()) {
    result.append(text, done, found - done).append(to);
  }
  return result.append(text, done);
}

std::string capitalize(std::string_view text) {
  std::string result;
  for_each_character(text, [&](uint32_t code, std::string_view bytes) {
    const bool first = result.empty();
    if (first && is_lower(code)) {
      result += shifted(bytes, -32);
    } else if (!first && is_upper(code)) {
      result += shifted(bytes, 32);
    } else {
      result += bytes;
    }
  });
  return result;
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for_each_character(text, [&](uint32_t, std::string_view) { ++count; });
  return count;
}

int64_t count_words(std::string_view text) {
  int64_t count = 0;
  bool inside = false;
  for_each_character(text, [&](uint32_t code, std::string_view) {
    const bool letter = !is_space(code);
    count += letter && !inside;
    inside = letter;
  });
  return count;
}

int64_t count_pieces(std::string_view text) {
  int64_t count = 1;
  bool inside = true;
  for_each_character(text, [&](uint32_t code, std::string_view) {
    const bool letter = !is_space(code);
    count += !letter && inside;
    inside = letter;
  });
  return count;
}

std::string tighten(std::string_view text, char open, char close) {
  std::string result;
  while (true) {
    const size_t start = text.find(open);
    const size_t end = start == std::string_view::npos ? start : text.find(close, start + 1);
    if (end == std::string_view::npos) return result.append(text);
    result.append(text, 0, start + 1).append(trim(text.substr(start + 1, end - start - 1))) += close;
    text.remove_prefix(end + 1);
  }
}

}  // namespace xinslm
