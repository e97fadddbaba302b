#include "xinslm/data/whole_documents.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "letter_documents.h"

using namespace xinslm;

namespace {

constexpr int64_t kNoLoss = -100;

class WholeDocumentsTest : public LetterDocuments {
 protected:
  WholeDocumentSource source(const PackingOptions& options) const { return {file_, all_, tokenizer_, options}; }
  /// The targets of an epoch that count, row by row.
  std::vector<std::vector<int64_t>> epoch_rows(WholeDocumentSource& source, int64_t first_batch) const {
    std::vector<std::vector<int64_t>> rows;
    for (int64_t i = 0; i < source.batches_per_epoch(); ++i) {
      const at::Tensor targets = source.batch(first_batch + i).targets;
      for (int64_t row = 0; row < targets.size(0); ++row) {
        rows.push_back(flat(targets[row].contiguous()));
        std::erase(rows.back(), kNoLoss);
      }
    }
    return rows;
  }
};

TEST_F(WholeDocumentsTest, NoDocumentIsCutThatFitsIntoARow) {
  make(20);
  const DocumentRows rows(*file_, all_, 50);
  std::set<int64_t> seen;
  for (int64_t number = 0; number < rows.rows(); ++number) {
    int64_t count = 0;
    for (const auto& piece : rows.row(number)) {
      EXPECT_TRUE(piece.begins);
      EXPECT_TRUE(seen.insert(piece.first).second);
      EXPECT_TRUE(std::ranges::any_of(all_, [&](int64_t document) {
        return file_->begin(document) == piece.first && file_->begin(document + 1) == piece.first + piece.count;
      }));
      count += piece.count;
    }
    EXPECT_LE(count, 50);
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_LE(rows.rows(), file_->tokens() / 50 + 2);
}

TEST_F(WholeDocumentsTest, EveryTokenIsATargetExactlyOnceAnEpochInANewOrder) {
  make(20);
  for (const int64_t row_tokens : {7, 13, 50}) {  // most documents are longer than the shortest row
    auto whole = source({.row_tokens = row_tokens, .batch_rows = 1, .seed = 5});
    std::vector<std::vector<std::vector<int64_t>>> epochs;
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      epochs.push_back(epoch_rows(whole, epoch * whole.batches_per_epoch()));
      std::vector<int64_t> tokens;
      for (const auto& row : epochs.back()) tokens.insert(tokens.end(), row.begin(), row.end());
      auto expected = file_tokens();
      std::ranges::sort(tokens);
      std::ranges::sort(expected);
      EXPECT_EQ(tokens, expected) << row_tokens;
    }
    EXPECT_NE(epochs[0], epochs[1]);
    std::ranges::sort(epochs[0]);
    std::ranges::sort(epochs[1]);
    EXPECT_EQ(epochs[0], epochs[1]);
  }
}

TEST_F(WholeDocumentsTest, ABatchFollowsFromSeedAndPositionAlone) {
  make(15);
  const PackingOptions options{.row_tokens = 40, .batch_rows = 2, .seed = 9, .document_attention = true};
  auto once = source(options), again = source(options);
  for (const int64_t position : {11, 0, 7, 3, 12}) {
    const Batch a = once.batch(position), b = again.batch(position);
    EXPECT_TRUE(a.tokens.equal(b.tokens) && a.targets.equal(b.targets) && a.document_ids.equal(b.document_ids));
  }
}

TEST_F(WholeDocumentsTest, InputsAreTheTargetsOneEarlier) {
  make(9);
  auto whole = source({.row_tokens = 60, .batch_rows = 2, .seed = 1});
  const Batch batch = whole.batch(0);
  for (int64_t row = 0; row < 2; ++row) {
    const auto tokens = flat(batch.tokens[row].contiguous()), targets = flat(batch.targets[row].contiguous());
    EXPECT_EQ(tokens[0], kEndOfText);
    for (size_t i = 1; i < tokens.size(); ++i) {
      EXPECT_EQ(tokens[i], targets[i - 1] == kNoLoss ? kEndOfText : targets[i - 1]);
    }
  }
}

TEST_F(WholeDocumentsTest, RealPlacesAreThoseWithText) {
  make(9);
  auto whole = source({.row_tokens = 60, .batch_rows = 2, .seed = 1});
  const Batch batch = whole.batch(0);
  EXPECT_TRUE(batch.real_places.equal(batch.targets.flatten().ne(kNoLoss).nonzero().squeeze(1)));
  EXPECT_EQ(batch.real_tokens(), batch.target_tokens);
  EXPECT_LT(batch.real_tokens(), batch.tokens.numel());
}

TEST_F(WholeDocumentsTest, AnEpochIsEveryTokenOnceHoweverManyRowsABatchHas) {
  make(20);
  for (const int64_t rows : {1, 3, 100}) {
    auto whole = source({.row_tokens = 50, .batch_rows = rows, .seed = 5, .epochs = 2});
    int64_t tokens = 0;
    for (int64_t position = 0; position < whole.batches(); ++position) tokens += whole.batch(position).real_tokens();
    EXPECT_EQ(tokens, 2 * file_->tokens()) << rows;
    expect_error(ErrorKind::usage, {"num_train_epochs"}, [&] { whole.batch(whole.batches()); });
  }
}

TEST_F(WholeDocumentsTest, HeldOutTextIsScoredOnce) {
  make(9);
  for (const int64_t rows : {1, 2, 5}) {
    const WholeDocumentEvalSource held_out(file_, all_, tokenizer_, {.row_tokens = 30, .batch_rows = rows});
    std::vector<int64_t> scored;
    int64_t tokens = 0, bytes = 0;
    for (int64_t i = 0; i < held_out.batches(); ++i) {
      const Batch batch = held_out.batch(i);
      for (const int64_t target : flat(batch.targets)) {
        if (target != kNoLoss) scored.push_back(target);
      }
      tokens += batch.target_tokens;
      bytes += batch.target_bytes;
    }
    auto expected = file_tokens();
    std::ranges::sort(scored);
    std::ranges::sort(expected);
    EXPECT_EQ(scored, expected);
    EXPECT_EQ(tokens, held_out.size().tokens);
    EXPECT_EQ(bytes, held_out.size().bytes);
    expect_error(ErrorKind::usage, {}, [&] { held_out.batch(held_out.batches()); });
  }
}

}  // namespace
