#include "row_filler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace xinslm {

constexpr int64_t kNoLoss = -100;

RowFiller::RowFiller(const PackingOptions& options, const std::vector<int32_t>& byte_lengths, TokenId end_of_text,
                     int64_t rows)
    : options_(options), byte_lengths_(byte_lengths), end_of_text_(end_of_text), total_(rows * options.row_tokens) {
  const std::vector<int64_t> shape = {rows, options.row_tokens};
  batch_.tokens = at::empty(shape, at::kLong);
  batch_.targets = at::empty(shape, at::kLong);
  if (options.document_attention) batch_.document_ids = at::empty(shape, at::kLong);
}

void RowFiller::append(const DocumentStream& stream, int64_t begin, int64_t end) {
  stream.visit(begin, end, [&](int64_t count, int64_t token, bool begins) {
    append_document(stream.file(), count, token, begins);
  });
}

void RowFiller::append_document(const TokenFile& file, int64_t count, int64_t token, bool begins) {
  int64_t* inputs = batch_.tokens.data_ptr<int64_t>() + filled_;
  int64_t* targets = batch_.targets.data_ptr<int64_t>() + filled_;
  file.read(token, count, targets);
  // Whatever stands before a document ends with an end of text; in the file it may be another document than here.
  if (begins) {
    inputs[0] = end_of_text_;
  } else {
    file.read(token - 1, 1, inputs);
  }
  std::copy_n(targets, count - 1, inputs + 1);
  for (int64_t i = 0; i < count; ++i) {
    if (options_.learn_all || file.learned(token + i)) {
      batch_.target_bytes += byte_lengths_[targets[i]];
      ++batch_.target_tokens;
    } else {
      targets[i] = kNoLoss;
    }
  }
  set_document(count);
}

/// A position belongs to the document of its target, so that the end of text before a document is the first thing its
/// words see, as it will be when text is generated.
void RowFiller::set_document(int64_t count) {
  if (batch_.document_ids.defined()) {
    std::fill_n(batch_.document_ids.data_ptr<int64_t>() + filled_, count, document_++);
  }
  filled_ += count;
}

void RowFiller::pad_row() {
  const int64_t over = filled_ % options_.row_tokens, count = over == 0 ? 0 : options_.row_tokens - over;
  std::fill_n(batch_.tokens.data_ptr<int64_t>() + filled_, count, end_of_text_);
  std::fill_n(batch_.targets.data_ptr<int64_t>() + filled_, count, kNoLoss);
  if (count > 0) gaps_.push_back({filled_, filled_ + count});
  empty_ += count;
  set_document(count);
}

/// The places between the gaps; undefined where there is no gap.
at::Tensor RowFiller::real_places() const {
  if (gaps_.empty()) return {};
  const at::Tensor places = at::empty({total_ - empty_}, at::kLong);
  int64_t *out = places.data_ptr<int64_t>(), begin = 0;
  for (const Gap& gap : gaps_) {
    std::iota(out, out + gap.begin - begin, begin);
    out += gap.begin - begin;
    begin = gap.end;
  }
  std::iota(out, out + total_ - begin, begin);
  return places;
}

Batch RowFiller::finish() {
  batch_.real_places = real_places();
  return std::move(batch_);
}

}  // namespace xinslm
