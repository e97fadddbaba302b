#include "tokenizer/word_lines.h"

#include <algorithm>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

bool is_blank(const std::string& word) {
  return word.find_first_not_of(' ') == std::string::npos;
}
bool is_space_led(const std::string& word) {
  return word[0] == ' ' && !is_blank(word);
}

/// Occurrences of the word in its line with a follower: a space-led word follows itself.
int64_t in_followed_line(const std::string& word) {
  return is_space_led(word) ? 2 : 1;
}
bool has_followed_line(const std::string& word, int64_t count) {
  return count > 1 && !is_blank(word);
}

}  // namespace

WordLines::WordLines(CountedWords words, TokenizerType type)
    : words_(std::move(words)), unigram_(type == TokenizerType::unigram) {
  if (unigram_) prepare_unigram();
  write_line();
}

void WordLines::next() {
  if (++line_ == lines()) {
    line_ = 0;
    ++word_;
  }
  write_line();
}

void WordLines::prepare_unigram() {
  choose_follower();
  int64_t bytes = 0, distinct_bytes = 0, count = 0;
  for (const auto& [word, times] : words_) {
    bytes += std::ssize(word) * times;
    distinct_bytes += std::ssize(word);
    count += times;
  }
  constexpr int64_t kMostBytes = int64_t{1} << 24;  // the trainer's suffix array takes 20 bytes for each
  times_per_line_ = (bytes + kMostBytes - 1) / kMostBytes;
  // The trainer drops candidates expected less than half a time and ends the whole program when none is left, as in one
  // long word. Each character begins at most 16 candidates (the longest piece) and each word holds at least one token,
  // so that cannot happen once there are 8 words for every character: texts below that count several times.
  factor_ = (8 * distinct_bytes + count - 1) / count;
}

/// The most frequent space-led word follows words that are not, and its own count makes up for it. A text without any
/// takes the bare space, which it does not need otherwise.
void WordLines::choose_follower() {
  const auto frequent = std::find_if(words_.begin(), words_.end(), [](const auto& w) { return is_space_led(w.first); });
  follower_ = frequent == words_.end() ? " " : frequent->first;
  if (frequent == words_.end()) return;
  const auto uses = std::count_if(words_.begin(), words_.end(), [](const auto& w) {
    return has_followed_line(w.first, w.second) && !is_space_led(w.first);
  });
  frequent->second = std::max<int64_t>(frequent->second - uses, std::min<int64_t>(frequent->second, 2));
}

int64_t WordLines::lines() const {
  if (!unigram_) return 1;
  const auto& [word, count] = words_[word_];
  if (!has_followed_line(word, count)) return 1;
  return 1 + (count - in_followed_line(word) + times_per_line_ - 1) / times_per_line_;
}

void WordLines::write_line() {
  if (done()) return;
  const auto& [word, count] = words_[word_];
  const int64_t all = lines();
  if (all == 1 && !(unigram_ && has_followed_line(word, count))) {
    value_ = cat(word, '\t', count * factor_);
  } else if (line_ == 0) {
    value_ = cat(word, is_space_led(word) ? word : follower_, '\t', factor_);
  } else {
    const int64_t rest = count - in_followed_line(word), plain = all - 1;
    const int64_t share = rest / plain + (line_ <= rest % plain ? 1 : 0);
    value_ = cat(word, '\t', share * factor_);
  }
}

}  // namespace xinslm
