#pragma once
#include <memory>
#include <string>
#include <vector>

#include "xinslm/core/random.h"
#include "xinslm/tokenizer/train_tokenizer.h"

namespace xinslm::test {

/// Sentences from a small grammar, enough for a vocabulary of some hundred pieces.
inline std::string sample_text(size_t sentences, uint64_t seed = 1) {
  const std::vector<std::string> names{"Tim", "Lily", "Anna", "the old man", "a little bird", "Ben's mother"};
  const std::vector<std::string> verbs{"walked", "laughed", "didn't wait", "looked around", "was happy", "can't sing"};
  const std::vector<std::string> places{"in the garden", "by the sea", "at school", "on 14 March 1987", "near Zürich"};
  const std::vector<std::string> syllables{"ka", "mo", "ri", "ten", "lu", "sha", "bo", "ne", "fi", "dar", "wo", "gel"};
  const std::vector<std::string> ends{".", "!", "?", ".\n", ".\n\n", ", and said: \"Hello!\"", " ..."};
  RandomStream random{seed, 71};
  const auto pick = [&random](const auto& list) { return list[random.below(list.size())]; };
  std::string text;
  for (size_t i = 0; i < sentences; ++i) {
    const std::string made_up = pick(syllables) + pick(syllables) + (random.below(2) ? pick(syllables) : "");
    text += pick(names) + ' ' + pick(verbs) + " with " + made_up + ' ' + pick(places) + pick(ends);
    if (text.back() != '\n') text += ' ';
  }
  return text;
}

/// A source that gives one text.
inline TextSource source_of(std::string text) {
  return [text = std::move(text), given = false]() mutable -> std::optional<std::string_view> {
    if (given) return std::nullopt;
    given = true;
    return text;
  };
}

inline std::shared_ptr<const Tokenizer> train_on_sample(TokenizerType type = TokenizerType::bpe,
                                                        std::vector<std::string> user_symbols = {}) {
  TokenizerTrainingOptions options;
  options.vocab_size = 480;
  options.type = type;
  options.user_symbols = std::move(user_symbols);
  return train_tokenizer(options, source_of(sample_text(2000)));
}

/// The tokenizer most tests share.
inline const std::shared_ptr<const Tokenizer>& sample_tokenizer() {
  static const auto tokenizer = train_on_sample();
  return tokenizer;
}

}  // namespace xinslm::test
