#pragma once
#include <cstddef>
#include <string_view>

// Words: the stretches of text that pieces never reach across. Training counts words and encoding looks words up, so
// both must cut alike, and a cut must depend only on what stands near it.

namespace xinslm {

/// Longest word in bytes; only text without any place to cut (a page of one letter) ever gets this far.
inline constexpr size_t kLongestWord = 256;

struct Word {
  size_t length;  ///< bytes, at least 1
  bool raw;       ///< bytes that SentencePiece cannot give back as they were: each becomes a byte token
};

/// The word at the start of a text that is not empty.
///
/// Between two characters there is a cut, or not, by their kinds alone: spaces lead what follows them ("▁the", "▁,",
/// "▁\n"); letters stay together, an apostrophe leads letters ("don" + "'t"); every digit stands alone but for its
/// space; punctuation takes the newlines after it (".\n\n"), as the split pattern of o200k does. Because the rule looks
/// at pairs, pieces learned inside words hold no cut themselves, so SentencePiece run over a whole text (up to 256
/// bytes without a cut) finds the same pieces as run over each word.
///
/// Raw are: invalid UTF-8, NUL and other control characters but newline and carriage return (a tab is SentencePiece's
/// own boundary mark), non-characters, and the three characters it uses as signs: U+2581 (its space), U+2585 (its
/// unknown character) and U+FFFD.
Word first_word(std::string_view text);

/// True when a piece lies within one word that is not raw: a vocabulary of such pieces can be used word by word.
bool is_one_word(std::string_view text);

}  // namespace xinslm
