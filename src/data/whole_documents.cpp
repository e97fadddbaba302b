#include "xinslm/data/whole_documents.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "pieces.h"
#include "row_filler.h"
#include "xinslm/core/error.h"
#include "xinslm/core/random.h"
#include "xinslm/core/size.h"

namespace xinslm {
namespace {

void append_row(RowFiller& filler, const TokenFile& file, const DocumentRows& rows, int64_t number) {
  for (const DocumentRows::Piece& piece : rows.row(number)) {
    filler.append_document(file, piece.count, piece.first, piece.begins);
  }
  filler.pad_row();
}

}  // namespace

DocumentRows::DocumentRows(const TokenFile& file, const std::vector<int64_t>& documents, int64_t row_tokens) {
  std::vector<Piece> all;
  for (const int64_t document : documents) {
    const int64_t begin = file.begin(document), end = file.begin(document + 1);
    for (int64_t first = begin; first < end; first += row_tokens) {
      all.push_back({first, std::min(row_tokens, end - first), first == begin});
    }
  }
  std::ranges::stable_sort(all, std::ranges::greater{}, &Piece::count);

  std::multimap<int64_t, int64_t> open;  // places left in a row -> the row
  std::vector<int64_t> row_of(all.size()), sizes;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto best = open.lower_bound(all[i].count);
    int64_t row = static_cast<int64_t>(sizes.size()), left = row_tokens;
    if (best == open.end()) {
      sizes.push_back(0);
    } else {
      std::tie(left, row) = *best;
      open.erase(best);
    }
    row_of[i] = row;
    ++sizes[row];
    if (left > all[i].count) open.emplace(left - all[i].count, row);
  }

  begins_.resize(sizes.size() + 1);
  std::partial_sum(sizes.begin(), sizes.end(), begins_.begin() + 1);
  pieces_.resize(all.size());
  std::vector<int64_t> next(begins_.begin(), begins_.end() - 1);
  for (size_t i = 0; i < all.size(); ++i) pieces_[next[row_of[i]]++] = all[i];
}

WholeDocumentSource::WholeDocumentSource(std::shared_ptr<const TokenFile> file, const std::vector<int64_t>& documents,
                                         std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options)
    : file_(std::move(file)),
      rows_(*file_, documents, options.row_tokens),
      byte_lengths_(token_byte_lengths(*tokenizer)),
      end_of_text_(tokenizer->end_of_text()),
      options_(options),
      end_(whole_share(options.epochs, rows_.rows())),
      order_(static_cast<size_t>(rows_.rows())) {}

int64_t WholeDocumentSource::batches_per_epoch() const {
  return pieces_of(rows_.rows(), options_.batch_rows);
}

int64_t WholeDocumentSource::batches() const {
  return pieces_of(end_, options_.batch_rows);
}

/// The row at a place of the endless sequence of epochs.
int64_t WholeDocumentSource::row_at(int64_t place) {
  const int64_t epoch = options_.shuffle ? place / rows_.rows() : 0;
  if (known_epoch_ != epoch) {
    std::iota(order_.begin(), order_.end(), 0);
    RandomStream random{random_for::row_order, options_.seed, static_cast<uint64_t>(epoch)};
    for (size_t i = order_.size(); options_.shuffle && i > 1; --i) std::swap(order_[i - 1], order_[random.below(i)]);
    known_epoch_ = epoch;
  }
  return order_[static_cast<size_t>(place % rows_.rows())];
}

Batch WholeDocumentSource::batch(int64_t position) {
  check_position(position, batches());
  const std::lock_guard lock(lock_);
  const int64_t first = exact_product("the batch's place in the text", position, options_.batch_rows);
  const int64_t count = end_ > 0 ? std::min(options_.batch_rows, end_ - first) : options_.batch_rows;
  RowFiller filler(options_, byte_lengths_, end_of_text_, count);
  for (int64_t row = first; row < first + count; ++row) append_row(filler, *file_, rows_, row_at(row));
  return filler.finish();
}

WholeDocumentEvalSource::WholeDocumentEvalSource(std::shared_ptr<const TokenFile> file,
                                                 const std::vector<int64_t>& documents,
                                                 std::shared_ptr<const Tokenizer> tokenizer,
                                                 const PackingOptions& options)
    : file_(std::move(file)),
      rows_(*file_, documents, options.row_tokens),
      byte_lengths_(token_byte_lengths(*tokenizer)),
      end_of_text_(tokenizer->end_of_text()),
      options_(options),
      size_(text_size(*file_, documents, options.learn_all)) {}

int64_t WholeDocumentEvalSource::batches() const {
  return pieces_of(rows_.rows(), options_.batch_rows);
}

Batch WholeDocumentEvalSource::batch(int64_t index) const {
  if (index < 0 || index >= batches()) usage_error("batch ", index, " of ", batches(), " held-out batches");
  const int64_t first = index * options_.batch_rows, count = std::min(options_.batch_rows, rows_.rows() - first);
  RowFiller filler(options_, byte_lengths_, end_of_text_, count);
  for (int64_t row = first; row < first + count; ++row) append_row(filler, *file_, rows_, row);
  return filler.finish();
}

}  // namespace xinslm
