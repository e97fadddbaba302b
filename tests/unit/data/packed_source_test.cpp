#include "xinslm/data/packed_source.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <set>

#include "letter_documents.h"

using namespace xinslm;

namespace {

class PackedSourceTest : public LetterDocuments {
 protected:
  PackedSource source(const PackingOptions& options) const { return {file_, all_, tokenizer_, options}; }
};

TEST_F(PackedSourceTest, EveryTokenIsATargetExactlyOnceAnEpoch) {
  make(20);
  PackingOptions options{.row_tokens = 13, .batch_rows = 3, .seed = 5};
  auto packed = source(options);
  const int64_t tokens = file_->tokens();
  std::vector<int64_t> stream;
  for (int64_t position = 0; static_cast<int64_t>(stream.size()) < 3 * tokens; ++position) {
    const auto targets = flat(packed.batch(position).targets);
    stream.insert(stream.end(), targets.begin(), targets.end());
  }
  std::vector<std::vector<std::string>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::string> documents(1);
    for (int64_t i = epoch * tokens; i < (epoch + 1) * tokens; ++i) {
      if (stream[i] == kEndOfText) {
        documents.emplace_back();
      } else {
        documents.back() += static_cast<char>(stream[i]);
      }
    }
    EXPECT_EQ(documents.back(), "");
    documents.pop_back();
    orders.push_back(documents);
    auto sorted = documents;
    std::sort(sorted.begin(), sorted.end());
    CorpusOptions corpus;
    corpus.inputs = {(folder_ / "a.txt").string()};
    corpus.separator = "<|endoftext|>";
    EXPECT_EQ(sorted, documents_of(corpus)) << "epoch " << epoch;
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST_F(PackedSourceTest, InputsAreTheTargetsOneEarlier) {
  make(9);
  auto packed = source({.row_tokens = 7, .batch_rows = 4, .seed = 1});
  int64_t last = kEndOfText;
  for (int64_t position = 0; position < 40; ++position) {
    const Batch batch = packed.batch(position);
    const auto tokens = flat(batch.tokens), targets = flat(batch.targets);
    EXPECT_EQ(tokens[0], last);
    for (size_t i = 1; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], targets[i - 1]);
    last = targets.back();
    EXPECT_EQ(batch.tokens.sizes(), (std::vector<int64_t>{4, 7}));
    EXPECT_FALSE(batch.document_ids.defined());
  }
}

TEST_F(PackedSourceTest, ABatchFollowsFromSeedAndPositionAlone) {
  make(20);
  const PackingOptions options{.row_tokens = 11, .batch_rows = 2, .seed = 9};
  auto forward = source(options);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t position = 0; position < 60; ++position) batches.push_back(flat(forward.batch(position).tokens));
  auto anywhere = source(options);
  for (int64_t position : {59, 3, 31, 58, 0, 30}) EXPECT_EQ(flat(anywhere.batch(position).tokens), batches[position]);

  PackingOptions other = options;
  other.seed = 10;
  EXPECT_NE(flat(source(other).batch(0).tokens), batches[0]);
}

TEST_F(PackedSourceTest, ReadingAheadChangesNothing) {
  make(20);
  const PackingOptions options{.row_tokens = 11, .batch_rows = 2, .seed = 9};
  auto plain = source(options);
  const auto ahead = read_ahead(std::make_unique<PackedSource>(file_, all_, tokenizer_, options));
  EXPECT_EQ(ahead->batches_per_epoch(), plain.batches_per_epoch());
  for (int64_t position : {0, 1, 2, 7, 8, 3, 3}) {
    EXPECT_EQ(flat(ahead->batch(position).tokens), flat(plain.batch(position).tokens));
  }
}

TEST_F(PackedSourceTest, BytesAreExactlyThoseOfTheTargets) {
  make(20);
  auto packed = source({.row_tokens = file_->tokens(), .batch_rows = 1, .seed = 3});
  int64_t bytes = 0;
  for (int64_t document : all_) bytes += file_->bytes(document);
  const Batch batch = packed.batch(0);
  EXPECT_EQ(batch.target_bytes, bytes);
  EXPECT_EQ(batch.target_tokens, file_->tokens());
  EXPECT_EQ(bytes + file_->documents(), file_->tokens()) << "one token a byte, and the ends of text";
}

TEST_F(PackedSourceTest, WithoutShufflingTheOrderIsThatOfTheFile) {
  make(6);
  auto packed = source({.row_tokens = file_->tokens(), .batch_rows = 1, .shuffle = false});
  EXPECT_EQ(flat(packed.batch(0).targets), file_tokens());
  EXPECT_EQ(flat(packed.batch(5).targets), file_tokens());
}

TEST_F(PackedSourceTest, DocumentIdsChangeWithTheEndOfText) {
  make(12);
  auto packed = source({.row_tokens = 16, .batch_rows = 3, .seed = 2, .document_attention = true});
  for (int64_t position = 0; position < 20; ++position) {
    const Batch batch = packed.batch(position);
    const auto tokens = flat(batch.tokens), ids = flat(batch.document_ids);
    for (size_t i = 1; i < tokens.size(); ++i) EXPECT_EQ(ids[i] != ids[i - 1], tokens[i] == kEndOfText);
  }
}

TEST_F(PackedSourceTest, TheLastEpochAskedForEndsWithItsLastToken) {
  make(20);
  for (const double epochs : {0.3, 1.0, 2.0}) {
    const PackingOptions options{.row_tokens = 13, .batch_rows = 3, .seed = 5, .epochs = epochs};
    auto endless = source({.row_tokens = 13, .batch_rows = 3, .seed = 5}), packed = source(options);
    int64_t tokens = 0, targets = 0;
    for (int64_t position = 0; position < packed.batches(); ++position) {
      const Batch batch = packed.batch(position), whole = endless.batch(position);
      tokens += batch.real_tokens();
      targets += batch.target_tokens;
      const at::Tensor seen = batch.targets.flatten().ne(-100).nonzero().squeeze(1);
      EXPECT_TRUE(seen.equal(batch.real_places.defined() ? batch.real_places : at::arange(batch.tokens.numel())));
      EXPECT_TRUE(batch.targets.flatten().index_select(0, seen).equal(whole.targets.flatten().index_select(0, seen)));
    }
    EXPECT_EQ(tokens, static_cast<int64_t>(std::ceil(epochs * static_cast<double>(file_->tokens()))));
    EXPECT_EQ(targets, tokens);
    expect_error(ErrorKind::usage, {"num_train_epochs"}, [&] { packed.batch(packed.batches()); });
    const auto ahead = read_ahead(std::make_unique<PackedSource>(file_, all_, tokenizer_, options));
    EXPECT_EQ(flat(ahead->batch(packed.batches() - 1).targets), flat(packed.batch(packed.batches() - 1).targets));
  }
  EXPECT_EQ(source({.row_tokens = 13}).batches(), 0);
}

TEST_F(PackedSourceTest, TooLittleTextSaysHowMuchThereIsAndIsNeeded) {
  make(2);
  expect_error(ErrorKind::data, {cat(file_->tokens(), " tokens"), "1000", "max_seq_length"},
               [&] { source({.row_tokens = 1000}); });
}

TEST_F(PackedSourceTest, HeldOutTextIsScoredOnceInOrder) {
  make(9);
  for (int64_t rows : {1, 2, 5}) {
    const PackingOptions options{.row_tokens = 10, .batch_rows = rows, .document_attention = true};
    const SequentialSource source(file_, all_, tokenizer_, options);
    std::vector<int64_t> scored;
    int64_t tokens = 0, bytes = 0;
    for (int64_t i = 0; i < source.batches(); ++i) {
      const Batch batch = source.batch(i);
      for (int64_t target : flat(batch.targets)) {
        if (target != -100) scored.push_back(target);
      }
      tokens += batch.target_tokens;
      bytes += batch.target_bytes;
      EXPECT_LE(batch.tokens.size(0), rows);
      EXPECT_EQ(batch.tokens.sizes(), batch.document_ids.sizes());
    }
    EXPECT_EQ(scored, file_tokens());
    EXPECT_EQ(tokens, source.size().tokens);
    EXPECT_EQ(bytes, source.size().bytes);
    EXPECT_EQ(source.size().words, 9);
    expect_error(ErrorKind::usage, {}, [&] { source.batch(source.batches()); });
  }
}

}  // namespace
