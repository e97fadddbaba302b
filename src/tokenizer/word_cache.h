#pragma once
#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Remembers the tokens of words met before: natural text repeats its words, and the search costs SentencePiece some
/// hundred times as much as a look-up. Of bounded size and safe for threads; what it holds never changes a result.
class WordCache {
 public:
  /// Appends the word's tokens and returns true, or returns false when the word is not known.
  bool append(std::string_view word, std::vector<TokenId>& ids) const {
    if (word.size() > kLongest) return false;
    const size_t hash = std::hash<std::string_view>{}(word);
    const Shard& shard = shards_[hash % kShards];
    std::lock_guard lock(shard.mutex);
    const auto found = shard.words.find(word);
    if (found == shard.words.end()) return false;
    ids.insert(ids.end(), found->second.begin(), found->second.end());
    return true;
  }

  void add(std::string_view word, std::vector<TokenId> ids) const {
    if (word.size() > kLongest) return;
    Shard& shard = shards_[std::hash<std::string_view>{}(word) % kShards];
    std::lock_guard lock(shard.mutex);
    if (shard.words.size() >= kWordsPerShard) shard.words.clear();
    shard.words.emplace(word, std::move(ids));
  }

 private:
  static constexpr size_t kShards = 64, kWordsPerShard = 4096, kLongest = 48;

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view word) const { return std::hash<std::string_view>{}(word); }
  };
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::string, std::vector<TokenId>, Hash, std::equal_to<>> words;
  };
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace xinslm
