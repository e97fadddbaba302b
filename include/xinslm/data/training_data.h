#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "xinslm/config/settings.h"
#include "xinslm/data/batch.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// How much text there is.
struct TextSize {
  int64_t documents = 0;
  int64_t tokens = 0;          ///< ends of text included
  int64_t learned_tokens = 0;  ///< those the loss counts; fewer than tokens in dialogues only
  int64_t bytes = 0;           ///< of the text; an end of text has none
  int64_t words = 0;           ///< stretches between white space
  bool has_dialogues = false;  ///< some documents are messages, in the tokenizer's chat format
};

/// Held-out text in its own order, cut into rows: every token is a target exactly once.
class EvalSource {
 public:
  virtual ~EvalSource() = default;
  virtual int64_t batches() const = 0;
  /// Any batch in [0, batches()); the last may have fewer rows, its last row is filled up with targets of -100.
  /// May be called from several threads.
  virtual Batch batch(int64_t index) const = 0;
  virtual const TextSize& size() const = 0;
};

/// What a configuration's data section becomes.
struct TrainingData {
  std::unique_ptr<BatchSource> train;      ///< rows of max_seq_length, per_device_train_batch_size a batch, read ahead
  std::unique_ptr<EvalSource> validation;  ///< nullptr when nothing is held out
  TextSize train_size;
  TextSize validation_size;
  /// Of the built-in corpus: -log2 p(text) of the held-out stories under the grammar that wrote them, per byte. No
  /// model can do better on average. NaN for any other text.
  double builtin_bits_per_byte = std::numeric_limits<double>::quiet_NaN();
  /// Changes when text, tokenizer, rows or seed do: a run may only be resumed with the same data.
  std::string fingerprint;
};

/// Reads and tokenises the text (or takes it from the cache), holds a part back, packs the rest.
///
/// @throws Error(data) for files that are missing, damaged or too small, naming file and line
/// @throws Error(usage) for settings that no text fits
TrainingData open_training_data(const Settings& settings, std::shared_ptr<const Tokenizer> tokenizer);

/// The text a tokenizer may learn from, stretch by stretch: of the training documents only, never of those held out; at
/// most settings.tokenizer.max_training_bytes, taken evenly from all of it. Fits train_tokenizer(). A view lives until
/// the next call.
///
/// @throws Error(data), also from later calls
std::function<std::optional<std::string_view>()> training_text(const Settings& settings);

}  // namespace xinslm
