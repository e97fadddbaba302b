#pragma once
#include <cstdint>
#include <string>
#include <string_view>

// Text handling as the reference harness, a Python program, does it: white space and letters are Unicode's.
namespace xinslm {

/// Without white space at the end (str.rstrip) or at both ends (str.strip).
std::string_view trim_end(std::string_view text);
std::string_view trim(std::string_view text);

/// Every occurrence from left to right, without looking at what was put in (str.replace).
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// First character in upper case, all others in lower case (str.capitalize), for ASCII and Latin-1 letters.
std::string capitalize(std::string_view text);

/// Characters (code points); an invalid byte counts as one.
int64_t count_characters(std::string_view text);

/// Stretches between white space, as `wc -w` and text.split() count them.
int64_t count_words(std::string_view text);

/// Pieces that white space cuts the text into, empty ones at the ends included: len(re.split("\s+", text)).
int64_t count_pieces(std::string_view text);

/// Drops white space after every `open` and before the `close` that follows it: re.sub of open\s*([^close]*?)\s*close.
std::string tighten(std::string_view text, char open, char close);

}  // namespace xinslm
