#include "tokenizer/word_counts.h"

#include <algorithm>

#include "tokenizer/words.h"

namespace xinslm {
namespace {

std::vector<std::pair<std::string, TokenId>> numbered(const std::vector<std::string>& symbols) {
  std::vector<std::pair<std::string, TokenId>> result;
  for (const std::string& symbol : symbols) result.emplace_back(symbol, static_cast<TokenId>(result.size()));
  return result;
}

}  // namespace

WordCounts::WordCounts(const std::vector<std::string>& user_symbols, size_t capacity)
    : symbols_(numbered(user_symbols)), capacity_(capacity) {}

void WordCounts::add(std::string_view text) {
  size_t start = 0;
  while (const auto symbol = symbols_.find(text, start)) {
    add_plain(text.substr(start, symbol->position - start));
    start = symbol->position + symbol->length;
  }
  add_plain(text.substr(start));
}

void WordCounts::add_plain(std::string_view text) {
  while (!text.empty()) {
    const Word word = first_word(text);
    const std::string_view bytes = text.substr(0, word.length);
    text.remove_prefix(word.length);
    if (word.raw) continue;
    const auto found = counts_.find(bytes);
    if (found != counts_.end()) {
      ++found->second;
      continue;
    }
    if (counts_.size() >= capacity_) forget_rarest();
    counts_.emplace(bytes, 1);
  }
}

void WordCounts::forget_rarest() {
  for (int64_t rare = 1; counts_.size() > capacity_ / 2; rare *= 2) {
    std::erase_if(counts_, [rare](const auto& entry) { return entry.second <= rare; });
  }
}

std::vector<std::pair<std::string, int64_t>> WordCounts::sorted() const {
  std::vector<std::pair<std::string, int64_t>> words(counts_.begin(), counts_.end());
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return words;
}

}  // namespace xinslm
