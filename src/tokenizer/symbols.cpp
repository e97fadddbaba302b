#include "tokenizer/symbols.h"

#include <algorithm>

namespace xinslm {

SymbolMatcher::SymbolMatcher(std::vector<std::pair<std::string, TokenId>> symbols) : symbols_(std::move(symbols)) {
  std::stable_sort(symbols_.begin(), symbols_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& [text, id] : symbols_) first_bytes_.set(static_cast<unsigned char>(text[0]));
}

std::optional<SymbolMatcher::Match> SymbolMatcher::find(std::string_view text, size_t start) const {
  if (symbols_.empty()) return std::nullopt;
  for (size_t i = start; i < text.size(); ++i) {
    if (!first_bytes_[static_cast<unsigned char>(text[i])]) continue;
    for (const auto& [symbol, id] : symbols_) {
      if (text.substr(i).starts_with(symbol)) return Match{i, symbol.size(), id};
    }
  }
  return std::nullopt;
}

}  // namespace xinslm
