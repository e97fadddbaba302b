#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/sentencepiece_library.h"
#include "xinslm/tokenizer/train_tokenizer.h"

namespace xinslm {

using CountedWords = std::vector<std::pair<std::string, int64_t>>;

/// Hands counted words to SentencePiece's trainer as lines "text<tab>count".
///
/// The BPE trainer goes by the counts, so one line a word will do. The unigram trainer takes its candidates and their
/// first probabilities from the lines' text alone: substrings that stand there at least twice with different characters
/// after them. For it a word's count is split over lines in proportion to it, and one of them has the word followed by
/// a space-led word (where the trainer cuts), the others by the line's end; else no whole word would be a candidate.
class WordLines : public SentencePieceLines {
 public:
  WordLines(CountedWords words, TokenizerType type);

  bool done() const override { return word_ == words_.size(); }
  void next() override;
  const std::string& value() const override { return value_; }

 private:
  void prepare_unigram();
  void choose_follower();
  int64_t lines() const;
  void write_line();

  CountedWords words_;
  bool unigram_;
  int64_t times_per_line_ = 1;
  int64_t factor_ = 1;
  std::string follower_;
  size_t word_ = 0;
  int64_t line_ = 0;
  std::string value_;
};

}  // namespace xinslm
