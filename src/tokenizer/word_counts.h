#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/symbols.h"

namespace xinslm {

/// How often each word (words.h) stands in a text, leaving out user symbols and raw bytes.
class WordCounts {
 public:
  /// @param user_symbols  cut out of the text; they are tokens already
  /// @param capacity      different words held; beyond it the rarest are forgotten, so memory stays bounded
  explicit WordCounts(const std::vector<std::string>& user_symbols, size_t capacity = size_t{1} << 22);

  void add(std::string_view text);

  /// The most frequent word first; of equal ones the smaller by its bytes.
  std::vector<std::pair<std::string, int64_t>> sorted() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view word) const { return std::hash<std::string_view>{}(word); }
  };

  void add_plain(std::string_view text);
  void forget_rarest();

  SymbolMatcher symbols_;
  size_t capacity_;
  std::unordered_map<std::string, int64_t, Hash, std::equal_to<>> counts_;
};

}  // namespace xinslm
