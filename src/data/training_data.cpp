#include "xinslm/data/training_data.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <tuple>
#include <utility>

#include "document_readers.h"
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
  std::string mark;  // for the fingerprint
};

/// The end of a document, from its first token on.
struct Tail {
  int64_t token = 0, bytes = 0, words = 0;
};

/// The end of at most `most` bytes, from a token on that begins with white space where there is one in its first half,
/// so that no word is cut.
Tail find_tail(const TokenFile& file, int64_t document, int64_t most, const Tokenizer& tokenizer) {
  const int64_t begin = file.begin(document), end = file.begin(document + 1) - 1;  // without the end of text
  std::vector<int64_t> ids(end - begin);
  file.read(begin, end - begin, ids.data());
  const auto text = [&](int64_t i) { return tokenizer.token_bytes(static_cast<TokenId>(ids[i])); };
  int64_t first = end - begin;
  Tail tail;
  for (; first > 1; --first) {
    const auto size = static_cast<int64_t>(text(first - 1).size());
    if (tail.bytes + size > most) break;
    tail.bytes += size;
  }
  int64_t at_word = first, bytes = tail.bytes;
  while (at_word < end - begin && !is_blank(text(at_word).substr(0, 1))) {
    bytes -= static_cast<int64_t>(text(at_word++).size());
  }
  if (2 * bytes >= tail.bytes) std::tie(first, tail.bytes) = std::pair(at_word, bytes);
  tail.token = begin + first;
  bool inside = false;
  for (; first < end - begin; ++first) {
    for (const char c : text(first)) {
      tail.words += !is_blank({&c, 1}) && !inside;
      inside = !is_blank({&c, 1});
    }
  }
  return tail;
}

/// The file with the documents that are cut as two each; whole where none is.
std::shared_ptr<const TokenFile> cut_documents(std::shared_ptr<const TokenFile> file, const HeldOut& held_out,
                                               const Tokenizer& tokenizer, std::vector<bool>& is_tail) {
  is_tail.assign(file->documents(), false);
  if (!held_out.cuts()) return file;
  const auto cut = std::make_shared<TokenFile>(file->path(), file->key());
  for (int64_t i = file->documents() - 1; i >= 0; --i) {
    const int64_t most = held_out.tail(file->hash(i));
    if (most == 0) continue;
    const Tail tail = find_tail(*file, i, most, tokenizer);
    if (tail.bytes == 0) continue;  // one token of more bytes than that
    cut->split(i, tail.token, tail.bytes, tail.words);
    is_tail.insert(is_tail.begin() + i + 1, true);
  }
  return cut;
}

std::vector<DocumentWeight> weights_of(const TokenFile& file) {
  std::vector<DocumentWeight> weights(file.documents());
  for (int64_t i = 0; i < file.documents(); ++i) weights[i] = {file.hash(i), file.bytes(i), file.is_dialogue(i)};
  return weights;
}

/// A file of its own for documents that were cut.
Split split_documents(std::shared_ptr<const TokenFile>& file, const Settings& settings, const Tokenizer& tokenizer,
                      bool may_cut) {
  Split split;
  const double share = settings.data.validation.empty() ? settings.data.validation_share : 0.0;
  const HeldOut held_out(weights_of(*file), share, may_cut);
  if (share > 0 && !held_out.any() && file->documents() > 0) {
    log::warning(
        "no share of the training text can be held out: it is one short document (or all are the same), so training "
        "goes on without validation; name held-out files in data.validation, or set data.separator to the line between "
        "documents");
  }
  const int64_t documents = file->documents();
  std::vector<bool> is_tail;
  file = cut_documents(file, held_out, tokenizer, is_tail);
  for (int64_t i = 0; i < file->documents(); ++i) {
    (is_tail[i] || held_out.contains(file->hash(i)) ? split.held_out : split.train).push_back(i);
  }
  split.mark = held_out.mark();
  if (held_out.cuts() && !split.held_out.empty()) {
    log::info(cat("no document is as small as data.validation_share of the text: of ", documents,
                  ", one is cut and its last ", file->bytes(split.held_out[0]), " bytes are held out"));
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

TrainingData open_training_data(const Settings& settings, std::shared_ptr<const Tokenizer> tokenizer) {
  const CorpusOptions corpus = training_corpus(settings), validation = validation_corpus(settings);
  const std::filesystem::path cache = cache_folder(settings.data.cache_dir);
  const int threads =
      settings.data.num_workers > 0 ? static_cast<int>(settings.data.num_workers) : at::get_num_threads();
  const PackingOptions packing = packing_options(settings);

  auto file = open_tokens(corpus, tokenizer, cache, threads, "training");
  if (file->documents() == 0) data_error("the training text is empty: no document in data.train has any text");
  Split split = split_documents(file, settings, *tokenizer, !corpus.is_builtin());
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
                 ' ', packing.learn_all, ' ', settings.data.whole_documents, split.mark));
  data.train =
      read_ahead(train_source(file, std::move(split.train), tokenizer, packing, settings.data.whole_documents));
  return data;
}

namespace {

/// Training text for a tokenizer: a first pass finds what is held out and how much there is, the second gives it away.
class TrainingText {
 public:
  explicit TrainingText(const Settings& settings)
      : corpus_(training_corpus(settings)), held_out_({}, 0, false), limit_(settings.tokenizer.max_training_bytes) {
    DocumentPart part;
    bool first = true;
    for (const auto reader = open_corpus(corpus_); reader->next(part); first = part.last) {
      if (first) documents_.push_back({document_hash(part), 0, !part.messages.empty()});
      documents_.back().bytes += size_of(part);
    }
    const double share = settings.data.validation.empty() ? settings.data.validation_share : 0.0;
    held_out_ = HeldOut(documents_, share, !corpus_.is_builtin());
    double bytes = 0;
    for (const DocumentWeight& document : documents_) bytes += static_cast<double>(document.bytes);
    const auto limit = static_cast<double>(limit_);
    share_ = bytes > limit ? limit / bytes : 1.0;
    reader_ = open_corpus(corpus_);
  }

  /// The next stretch of what is taken into the sample.
  std::optional<std::string_view> next() {
    while (given_ < limit_) {
      if (rest_.empty() && !next_text()) break;
      std::string_view stretch = rest_.substr(0, cut_point(rest_, stretch_bytes()));
      rest_.remove_prefix(stretch.size());
      // Of a dialogue all or nothing: its part was drawn for.
      if (part_.messages.empty() && !drawn()) continue;
      stretch = stretch.substr(0, cut_point(stretch, static_cast<size_t>(limit_ - given_)));
      given_ += static_cast<int64_t>(stretch.size());
      return stretch;
    }
    if (given_ > 0 || fallback_.empty()) return std::nullopt;
    given_ = limit_;
    return fallback_;
  }

 private:
  static int64_t size_of(const DocumentPart& part) { return static_cast<int64_t>(part.size()); }
  /// Small enough that the sample comes from all of the text.
  size_t stretch_bytes() const {
    return share_ >= 1 ? kPartBytes : std::min<size_t>(kPartBytes, static_cast<size_t>(limit_) / 16);
  }
  bool drawn() { return share_ >= 1 || RandomStream{random_for::corpus_sample, number_++}.uniform() < share_; }

  /// The text of the next part, or the next message of a dialogue, that is not held out.
  bool next_text() {
    while (true) {
      if (message_ < part_.messages.size()) {
        rest_ = part_.messages[message_++].content;
        if (!rest_.empty()) return true;
        continue;
      }
      if (!next_part()) return false;
      if (part_.messages.empty()) {
        rest_ = part_.text;
        if (fallback_.empty()) fallback_ = part_.text.substr(0, cut_point(part_.text, static_cast<size_t>(limit_)));
        return true;
      }
    }
  }

  bool next_part() {
    while (true) {
      message_ = 0;
      if (part_.last) {
        ++document_;
        seen_ = 0;
      }
      if (!reader_->next(part_)) {
        part_ = {};
        return false;
      }
      if (document_ >= static_cast<int64_t>(documents_.size())) {
        data_error(part_.where, ": the training text changed while it was read; wait until its files are complete");
      }
      const DocumentWeight& document = documents_[static_cast<size_t>(document_)];
      const int64_t left = document.bytes - held_out_.tail(document.hash) - seen_;
      seen_ += size_of(part_);
      if (held_out_.contains(document.hash) || left <= 0) continue;
      if (part_.messages.empty()) {
        if (size_of(part_) > left) part_.text.resize(cut_point(part_.text, static_cast<size_t>(left)));
        return true;
      }
      const std::string& words = part_.messages.front().content;
      if (fallback_.empty()) fallback_ = words.substr(0, cut_point(words, static_cast<size_t>(limit_)));
      if (drawn()) return true;
    }
  }

  CorpusOptions corpus_;
  std::vector<DocumentWeight> documents_;
  HeldOut held_out_;
  std::unique_ptr<DocumentReader> reader_;
  DocumentPart part_{"", {}, true, ""};
  std::string_view rest_;  // of the text, not given yet
  std::string fallback_;   // the beginning, for a sample that would have nothing
  size_t message_ = 0;
  int64_t document_ = -1, seen_ = 0;  // the document read, and its bytes so far
  int64_t limit_ = 0, given_ = 0;
  double share_ = 1;
  uint64_t number_ = 0;
};

}  // namespace

std::function<std::optional<std::string_view>()> training_text(const Settings& settings) {
  return [text = std::make_shared<TrainingText>(settings)] { return text->next(); };
}

}  // namespace xinslm
