#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "xinslm/data/packed_source.h"

namespace xinslm {

/// Documents laid into rows of T targets so that none is cut that fits into a row: the longest first, each into the row
/// that it fills best (best-fit decreasing; Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). Of a
/// longer document whole rows are cut off, and its rest counts as a document.
class DocumentRows {
 public:
  /// Tokens [first, first + count) of the file, of one document.
  struct Piece {
    int64_t first, count;
    bool begins;  ///< a document begins with it
  };

  DocumentRows(const TokenFile& file, const std::vector<int64_t>& documents, int64_t row_tokens);

  int64_t rows() const { return static_cast<int64_t>(begins_.size()) - 1; }
  std::span<const Piece> row(int64_t number) const {
    return {pieces_.data() + begins_[number], pieces_.data() + begins_[number + 1]};
  }

 private:
  std::vector<Piece> pieces_;    // row by row
  std::vector<int64_t> begins_;  // first piece of each row, then the number of pieces
};

/// Training rows of whole documents, every row once an epoch, in a new order each time. What a row's documents leave
/// over stays empty: ends of text that neither losses nor experts count. The last epoch asked for ends with its last
/// row. Which rows a batch has follows from (seed, position) alone. May be called from several threads.
class WholeDocumentSource : public BatchSource {
 public:
  /// @param documents  of the file, at least one
  WholeDocumentSource(std::shared_ptr<const TokenFile> file, const std::vector<int64_t>& documents,
                      std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options);

  Batch batch(int64_t position) override;
  int64_t batches_per_epoch() const override;
  int64_t batches() const override;

 private:
  int64_t row_at(int64_t place);

  std::shared_ptr<const TokenFile> file_;
  DocumentRows rows_;
  std::vector<int32_t> byte_lengths_;
  TokenId end_of_text_;
  PackingOptions options_;
  int64_t end_ = 0;  // rows of all epochs asked for; 0 = without end

  std::mutex lock_;
  int64_t known_epoch_ = -1;
  std::vector<int64_t> order_;  // of the rows in that epoch
};

/// Held-out documents laid out likewise, each token a target once.
class WholeDocumentEvalSource : public EvalSource {
 public:
  WholeDocumentEvalSource(std::shared_ptr<const TokenFile> file, const std::vector<int64_t>& documents,
                          std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options);

  int64_t batches() const override;
  Batch batch(int64_t index) const override;
  const TextSize& size() const override { return size_; }

 private:
  std::shared_ptr<const TokenFile> file_;
  DocumentRows rows_;
  std::vector<int32_t> byte_lengths_;
  TokenId end_of_text_;
  PackingOptions options_;
  TextSize size_;
};

}  // namespace xinslm
