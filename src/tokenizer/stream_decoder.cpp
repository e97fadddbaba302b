#include "xinslm/core/utf8.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool keep_special)
    : tokenizer_(tokenizer), keep_special_(keep_special) {}

std::string StreamDecoder::push(TokenId id) {
  if (!keep_special_ && tokenizer_.is_special(id)) return "";
  pending_ += tokenizer_.token_bytes(id);
  // At most the last three bytes can be the beginning of a character that is still to be completed.
  size_t whole = pending_.size();
  for (size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
    const std::string_view tail = std::string_view(pending_).substr(pending_.size() - back);
    if (read_utf8(tail).state == Utf8State::incomplete) whole = pending_.size() - back;
  }
  std::string complete = pending_.substr(0, whole);
  pending_.erase(0, whole);
  return complete;
}

std::string StreamDecoder::finish() {
  return std::exchange(pending_, {});
}

}  // namespace xinslm
