#include "xinslm/data/packed_source.h"

#include <algorithm>
#include <future>
#include <numeric>
#include <utility>

#include "pieces.h"
#include "row_filler.h"
#include "xinslm/core/error.h"
#include "xinslm/core/random.h"
#include "xinslm/core/size.h"

namespace xinslm {
namespace {

class ReadAhead : public BatchSource {
 public:
  explicit ReadAhead(std::unique_ptr<BatchSource> source) : source_(std::move(source)) {}
  ~ReadAhead() override {
    if (next_.valid()) next_.wait();
  }

  Batch batch(int64_t position) override {
    Batch current;
    if (next_.valid() && next_position_ == position) {
      current = next_.get();
    } else {
      if (next_.valid()) next_.wait();
      current = source_->batch(position);
    }
    next_position_ = position + 1;
    if (const int64_t end = source_->batches(); end > 0 && next_position_ >= end) return current;
    next_ = std::async(std::launch::async, [this, ahead = position + 1] { return source_->batch(ahead); });
    return current;
  }
  int64_t batches_per_epoch() const override { return source_->batches_per_epoch(); }
  int64_t batches() const override { return source_->batches(); }

 private:
  std::unique_ptr<BatchSource> source_;
  std::future<Batch> next_;
  int64_t next_position_ = -1;
};

}  // namespace

DocumentStream::DocumentStream(std::shared_ptr<const TokenFile> file, std::vector<int64_t> order)
    : file_(std::move(file)), order_(std::move(order)) {
  starts_.reserve(order_.size() + 1);
  starts_.push_back(0);
  for (int64_t document : order_) {
    starts_.push_back(starts_.back() + file_->begin(document + 1) - file_->begin(document));
  }
}

size_t DocumentStream::document_at(int64_t target) const {
  return std::upper_bound(starts_.begin(), starts_.end(), target) - starts_.begin() - 1;
}

TextSize text_size(const TokenFile& file, const std::vector<int64_t>& documents, bool learn_all) {
  TextSize size;
  size.documents = static_cast<int64_t>(documents.size());
  size.has_dialogues = file.has_mask();
  for (int64_t document : documents) {
    const int64_t begin = file.begin(document), end = file.begin(document + 1);
    size.tokens += end - begin;
    size.bytes += file.bytes(document);
    size.words += file.words(document);
    if (learn_all || !file.has_mask()) continue;
    for (int64_t token = begin; token < end; ++token) size.learned_tokens += file.learned(token);
  }
  if (learn_all || !file.has_mask()) size.learned_tokens = size.tokens;
  return size;
}

PackedSource::PackedSource(std::shared_ptr<const TokenFile> file, std::vector<int64_t> documents,
                           std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options)
    : file_(std::move(file)),
      documents_(std::move(documents)),
      byte_lengths_(token_byte_lengths(*tokenizer)),
      end_of_text_(tokenizer->end_of_text()),
      options_(options) {
  for (int64_t document : documents_) tokens_ += file_->begin(document + 1) - file_->begin(document);
  if (tokens_ < options_.row_tokens) {
    data_error("the training text has ", tokens_, " tokens in ", documents_.size(),
               " document(s), but one sequence needs ", options_.row_tokens,
               " (training.max_seq_length); give more text or set a shorter sequence");
  }
  end_ = whole_share(options_.epochs, tokens_);
}

int64_t PackedSource::batches_per_epoch() const {
  return pieces_of(tokens_, batch_tokens());
}

int64_t PackedSource::batches() const {
  return pieces_of(end_, batch_tokens());
}

std::shared_ptr<const DocumentStream> PackedSource::epoch(int64_t number) {
  const std::lock_guard lock(lock_);
  const int64_t order_number = options_.shuffle ? number : 0;
  KnownEpoch& known = known_[order_number % 2];
  if (known.number != order_number) {
    std::vector<int64_t> order = documents_;
    RandomStream random{random_for::document_order, options_.seed, static_cast<uint64_t>(order_number)};
    for (size_t i = order.size(); options_.shuffle && i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    known = {order_number, std::make_shared<DocumentStream>(file_, std::move(order))};
  }
  return known.stream;
}

Batch PackedSource::batch(int64_t position) {
  check_position(position, batches());
  int64_t target = exact_product("the batch's place in the text", position, batch_tokens());
  int64_t left = end_ > 0 ? std::min(batch_tokens(), end_ - target) : batch_tokens();
  RowFiller filler(options_, byte_lengths_, end_of_text_, pieces_of(left, options_.row_tokens));
  while (left > 0) {
    const int64_t begin = target % tokens_, count = std::min(tokens_ - begin, left);
    filler.append(*epoch(target / tokens_), begin, begin + count);
    target += count;
    left -= count;
  }
  filler.pad_row();
  return filler.finish();
}

SequentialSource::SequentialSource(std::shared_ptr<const TokenFile> file, std::vector<int64_t> documents,
                                   std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& options)
    : stream_(file, documents),
      byte_lengths_(token_byte_lengths(*tokenizer)),
      end_of_text_(tokenizer->end_of_text()),
      options_(options),
      size_(text_size(*file, documents, options.learn_all)) {}

int64_t SequentialSource::batches() const {
  return pieces_of(stream_.tokens(), options_.batch_rows * options_.row_tokens);
}

Batch SequentialSource::batch(int64_t index) const {
  if (index < 0 || index >= batches()) usage_error("batch ", index, " of ", batches(), " held-out batches");
  const int64_t begin = index * options_.batch_rows * options_.row_tokens;
  const int64_t left = stream_.tokens() - begin;
  const int64_t rows = std::min(options_.batch_rows, pieces_of(left, options_.row_tokens));
  RowFiller filler(options_, byte_lengths_, end_of_text_, rows);
  filler.append(stream_, begin, begin + std::min(left, filler.places_left()));
  filler.pad_row();
  return filler.finish();
}

std::unique_ptr<BatchSource> read_ahead(std::unique_ptr<BatchSource> source) {
  return std::make_unique<ReadAhead>(std::move(source));
}

}  // namespace xinslm
