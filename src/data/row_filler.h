#pragma once
#include <vector>

#include "xinslm/data/packed_source.h"

namespace xinslm {

/// Fills the rows of a batch, one after the other, from pieces of streams.
class RowFiller {
 public:
  RowFiller(const PackingOptions& options, const std::vector<int32_t>& byte_lengths, TokenId end_of_text, int64_t rows);

  /// Appends targets [begin, end) of the stream, each with the token before it as input.
  void append(const DocumentStream& stream, int64_t begin, int64_t end);
  /// Appends `count` targets of one document, from token `token` of the file on; `begins`: the document begins there.
  void append_document(const TokenFile& file, int64_t count, int64_t token, bool begins);
  /// Fills the current row up, unless it is full, with empty places: ends of text as input, targets that do not count.
  void pad_row();
  /// Targets still missing.
  int64_t places_left() const { return total_ - filled_; }
  Batch finish();

 private:
  struct Gap {  // empty places [begin, end)
    int64_t begin, end;
  };

  void set_document(int64_t count);
  at::Tensor real_places() const;

  const PackingOptions& options_;
  const std::vector<int32_t>& byte_lengths_;
  TokenId end_of_text_;
  Batch batch_;
  int64_t total_, filled_ = 0, document_ = 0, empty_ = 0;
  std::vector<Gap> gaps_;
};

}  // namespace xinslm
