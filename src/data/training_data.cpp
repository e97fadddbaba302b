#include "xinslm/data/training_data.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include "held_out.h"
#include "xinslm/core/error.h"
#include "xinslm/core/hash.h"
#include "xinslm/core/log.h"
#include "xinslm/core/random.h"
#include "xinslm/data/builtin_corpus.h"
#include "xinslm/data/corpus.h"
#include "xinslm/data/packed_source.h"
#include "xinslm/data/token_file.h"
#include "xinslm/data/whole_documents.h"

namespace xinslm {
namespace {

constexpr uint64_t kPurpose = 0x73616d706c65;  // "sample"

PackingOptions packing_options(const Settings& settings) {
  PackingOptions options;
  options.row_tokens = settings.training.max_seq_length;
  options.batch_rows = settings.training.per_device_train_batch_size;
  options.seed = static_cast<uint64_t>(settings.training.seed);
  options.shuffle = settings.data.shuffle;
  options.document_attention = settings.data.document_attention;
  options.learn_all = settings.training.loss_on == "all";
  const bool by_epochs = settings.training.max_steps == 0 && settings.training.max_minutes == 0;
  if (by_epochs) options.epochs = settings.training.num_train_epochs;
  return options;
}

struct Split {
  std::vector<int64_t> train, held_out;
};

Split split_documents(const TokenFile& file, const Settings& settings) {
  Split split;
  const bool by_share = settings.data.validation.empty() && settings.data.validation_share > 0;
  std::vector<uint64_t> hashes(file.documents());
  for (int64_t i = 0; i < file.documents(); ++i) hashes[i] = file.hash(i);
  const HeldOut held_out(hashes, by_share ? settings.data.validation_share : 0.0);
  if (by_share && !held_out.any() && !hashes.empty()) {
    log::warning(
        "no share of the training text can be held out: it is one document (or all are the same), so training goes on "
        "without validation; name held-out files in data.validation, or set data.separator to the line between "
        "documents");
  }
  for (int64_t i = 0; i < file.documents(); ++i) {
    (held_out.contains(hashes[i]) ? split.held_out : split.train).push_back(i);
  }
  return split;
}

double bits_per_byte_of_stories(const CorpusOptions& corpus, const std::vector<int64_t>& stories) {
  double nats = 0, bytes = 0;
  for (int64_t index : stories) {
    const Story story = builtin_story(corpus.builtin_seed, index);
    nats += story.nats;
    bytes += static_cast<double>(story.text.size());
  }
  return nats / bytes / std::numbers::ln2;
}

std::unique_ptr<BatchSource> train_source(std::shared_ptr<const TokenFile> file, std::vector<int64_t> documents,
                                          std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& packing,
                                          bool whole_documents) {
  if (whole_documents) return std::make_unique<WholeDocumentSource>(file, documents, tokenizer, packing);
  return std::make_unique<PackedSource>(file, std::move(documents), tokenizer, packing);
}

std::unique_ptr<EvalSource> held_out_source(std::shared_ptr<const TokenFile> file,
                                            const std::vector<int64_t>& documents,
                                            std::shared_ptr<const Tokenizer> tokenizer, const PackingOptions& packing,
                                            bool whole_documents) {
  if (whole_documents) return std::make_unique<WholeDocumentEvalSource>(file, documents, tokenizer, packing);
  return std::make_unique<SequentialSource>(file, documents, tokenizer, packing);
}

void require_learned(const TextSize& size, const std::string& what) {
  if (size.learned_tokens == 0)
    data_error("the ", what, " text has no words the loss counts: no message of the assistant");
}

}  // namespace

HeldOut::HeldOut(const std::vector<uint64_t>& hashes, double share) {
  if (share <= 0 || hashes.empty()) return;
  const auto [lowest, highest] = std::minmax_element(hashes.begin(), hashes.end());
  limit_ = std::max(*lowest, static_cast<uint64_t>(std::ldexp(share, 64)));
  any_ = limit_ < *highest;
}

TrainingData open_training_data(const Settings& settings, std::shared_ptr<const Tokenizer> tokenizer) {
  const CorpusOptions corpus = training_corpus(settings), validation = validation_corpus(settings);
  const std::filesystem::path cache = cache_folder(settings.data.cache_dir);
  const int threads =
      settings.data.num_workers > 0 ? static_cast<int>(settings.data.num_workers) : at::get_num_threads();
  const PackingOptions packing = packing_options(settings);

  auto file = open_tokens(corpus, tokenizer, cache, threads, "training");
  if (file->documents() == 0) data_error("the training text is empty: no document in data.train has any text");
  Split split = split_documents(*file, settings);
  auto held_out_file = file;
  if (!validation.inputs.empty()) {
    held_out_file = open_tokens(validation, tokenizer, cache, threads, "validation");
    split.held_out.resize(held_out_file->documents());
    std::iota(split.held_out.begin(), split.held_out.end(), 0);
    if (split.held_out.empty()) data_error("the validation text is empty: no document in data.validation has any text");
  }

  TrainingData data;
  data.train_size = text_size(*file, split.train, packing.learn_all);
  require_learned(data.train_size, "training");
  if (!split.held_out.empty()) {
    auto source = held_out_source(held_out_file, split.held_out, tokenizer, packing, settings.data.whole_documents);
    data.validation_size = source->size();
    require_learned(data.validation_size, "validation");
    data.validation = std::move(source);
    if (corpus.is_builtin() && validation.inputs.empty()) {
      data.builtin_bits_per_byte = bits_per_byte_of_stories(corpus, split.held_out);
    }
  }
  data.fingerprint =
      sha256(cat(file->key(), held_out_file->key(), ' ', settings.data.validation_share, ' ', packing.seed, ' ',
                 packing.row_tokens, ' ', packing.batch_rows, ' ', packing.shuffle, ' ', packing.document_attention,
                 ' ', packing.learn_all, ' ', settings.data.whole_documents));
  data.train =
      read_ahead(train_source(file, std::move(split.train), tokenizer, packing, settings.data.whole_documents));
  return data;
}

namespace {

/// Training text for a tokenizer: a first pass finds what is held out and how much there is, the second gives it away.
class TrainingText {
 public:
  explicit TrainingText(const Settings& settings) : corpus_(training_corpus(settings)) {
    std::vector<uint64_t> hashes;
    double bytes = 0;
    DocumentPart part;
    bool first = true;
    for (const auto reader = open_corpus(corpus_); reader->next(part); first = part.last) {
      if (first) hashes.push_back(document_hash(part));
      bytes += static_cast<double>(part.size());
    }
    const bool by_share = settings.data.validation.empty();
    held_out_ = HeldOut(hashes, by_share ? settings.data.validation_share : 0.0);
    limit_ = static_cast<double>(settings.tokenizer.max_training_bytes);
    share_ = bytes > limit_ ? limit_ / bytes : 1.0;
    reader_ = open_corpus(corpus_);
  }

  std::optional<std::string_view> next() {
    while (message_ == part_.messages.size()) {
      if (!next_part()) return std::nullopt;
      if (part_.messages.empty()) return part_.text;
    }
    return part_.messages[message_++].content;
  }

 private:
  /// The next part of a training document that is taken into the sample.
  bool next_part() {
    message_ = 0;
    while (true) {
      const bool first = part_.last;
      if (!reader_->next(part_)) {
        part_ = {};
        return false;
      }
      if (first) skipped_ = held_out_.contains(document_hash(part_));
      const bool sampled = share_ >= 1 || RandomStream{kPurpose, number_++}.uniform() < share_;
      if (skipped_ || !sampled || given_ + static_cast<double>(part_.size()) > limit_) continue;
      given_ += static_cast<double>(part_.size());
      return true;
    }
  }

  CorpusOptions corpus_;
  HeldOut held_out_{{}, 0.0};
  std::unique_ptr<DocumentReader> reader_;
  DocumentPart part_{"", {}, true, ""};
  size_t message_ = 0;
  bool skipped_ = false;
  double limit_ = 0, share_ = 1, given_ = 0;
  uint64_t number_ = 0;
};

}  // namespace

std::function<std::optional<std::string_view>()> training_text(const Settings& settings) {
  return [text = std::make_shared<TrainingText>(settings)] { return text->next(); };
}

}  // namespace xinslm
