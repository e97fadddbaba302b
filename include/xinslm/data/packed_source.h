#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "xinslm/data/batch.h"
#include "xinslm/data/token_file.h"
#include "xinslm/data/training_data.h"

namespace xinslm {

struct PackingOptions {
  int64_t row_tokens = 0;  ///< T
  int64_t batch_rows = 1;  ///< B
  uint64_t seed = 0;
  bool shuffle = true;              ///< a new order of the documents in every epoch
  bool document_attention = false;  ///< batches say which document each position belongs to
  bool learn_all = false;           ///< the loss counts every word of dialogues too
  double epochs = 0;                ///< training batches end after so many passes; 0 = without end
};

/// Chosen documents in a given order as one stream of targets: each document's tokens and its end of text. The input
/// of a target is the token before it; before the first stands an end of text.
class DocumentStream {
 public:
  /// @param order  documents of the file, each as often as it is to appear
  DocumentStream(std::shared_ptr<const TokenFile> file, std::vector<int64_t> order);

  int64_t tokens() const { return starts_.back(); }
  /// Calls visit(number of targets, token of the file the first one is, whether a document begins with it) for the part
  /// of each document within targets [begin, end), in order.
  template <class F>
  void visit(int64_t begin, int64_t end, F&& visit) const {
    for (size_t i = document_at(begin); begin < end; ++i) {
      const int64_t stop = starts_[i + 1] < end ? starts_[i + 1] : end;
      visit(stop - begin, file_->begin(order_[i]) + begin - starts_[i], begin == starts_[i]);
      begin = stop;
    }
  }
  const TokenFile& file() const { return *file_; }

 private:
  size_t document_at(int64_t target) const;

  std::shared_ptr<const TokenFile> file_;
  std::vector<int64_t> order_;
  std::vector<int64_t> starts_;  ///< first target of each document, then the number of targets
};

/// Training rows without waste: the targets of all epochs are one endless stream, each epoch every token of every
/// document once in a new order, cut into rows of T. No token is left out; a row may run from one epoch into the next.
/// Only the row that the last epoch asked for ends in is filled up. What is in a row follows from (seed, position)
/// alone. May be called from several threads.
class PackedSource : public BatchSource {
 public:
  /// @param documents  of the file, at least one
  /// @throws Error(data) when the documents have fewer tokens than one row
  PackedSource(std::shared_ptr<const TokenFile> file, std::vector<int64_t> documents,
               std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options);

  Batch batch(int64_t position) override;
  /// Batches that show every token at least once.
  int64_t batches_per_epoch() const override;
  int64_t batches() const override;
  int64_t tokens_per_epoch() const { return tokens_; }

 private:
  std::shared_ptr<const DocumentStream> epoch(int64_t number);
  int64_t batch_tokens() const { return options_.batch_rows * options_.row_tokens; }

  std::shared_ptr<const TokenFile> file_;
  std::vector<int64_t> documents_;
  std::vector<int32_t> byte_lengths_;
  TokenId end_of_text_;
  PackingOptions options_;
  int64_t tokens_ = 0;
  int64_t end_ = 0;  ///< targets of all epochs asked for; 0 = without end

  std::mutex lock_;
  struct KnownEpoch {
    int64_t number = -1;
    std::shared_ptr<const DocumentStream> stream;
  };
  KnownEpoch known_[2];  ///< by parity: a batch needs at most an epoch and the next
};

/// The documents in the order of the file, each token a target once; the last row is filled up.
class SequentialSource : public EvalSource {
 public:
  SequentialSource(std::shared_ptr<const TokenFile> file, std::vector<int64_t> documents,
                   std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options);

  int64_t batches() const override;
  Batch batch(int64_t index) const override;
  const TextSize& size() const override { return size_; }

 private:
  DocumentStream stream_;
  std::vector<int32_t> byte_lengths_;
  TokenId end_of_text_;
  PackingOptions options_;
  TextSize size_;
};

/// Prepares the next batch in the background while the last one is used. The order stays the same.
std::unique_ptr<BatchSource> read_ahead(std::unique_ptr<BatchSource> source);

/// Counts of chosen documents.
TextSize text_size(const TokenFile& file, const std::vector<int64_t>& documents, bool learn_all);

}  // namespace xinslm
