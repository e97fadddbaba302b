#pragma once
#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Finds texts that are one token each (special tokens, user symbols) in a longer text.
class SymbolMatcher {
 public:
  struct Match {
    size_t position, length;
    TokenId id;
  };

  /// No text may be empty.
  explicit SymbolMatcher(std::vector<std::pair<std::string, TokenId>> symbols);

  /// The first symbol at or after start; of several at one place the longest.
  std::optional<Match> find(std::string_view text, size_t start) const;

 private:
  std::vector<std::pair<std::string, TokenId>> symbols_;  // longest first
  std::bitset<256> first_bytes_;
};

}  // namespace xinslm
