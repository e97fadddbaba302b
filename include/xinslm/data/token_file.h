#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/core/file.h"
#include "xinslm/data/corpus.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Bytes of text each token stands for, by id; special tokens stand for none.
std::vector<int32_t> token_byte_lengths(const Tokenizer& tokenizer);

/// A tokenised corpus in a memory-mapped file: the tokens of all documents, each ended by <|endoftext|>.
///
/// Layout, in the machine's byte order: a header of 128 bytes (magic, bytes per id, counts, CRC-32 of all that follows
/// and of the header itself, key), ids as uint16 or uint32 padded to 8 bytes, then uint64 arrays: first token of each
/// document and the end, bytes, words and hash of each document; then one bit a token, whether the loss counts it, when
/// there are dialogues.
class TokenFile {
 public:
  /// Checks size, key and checksum. @throws Error(data) when the file is missing, cut off, damaged or of another key
  TokenFile(const std::filesystem::path& path, const std::string& key);

  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }
  /// First token of a document; begin(documents()) is tokens().
  int64_t begin(int64_t document) const { return static_cast<int64_t>(begins_[document]); }
  int64_t bytes(int64_t document) const { return static_cast<int64_t>(bytes_[document]); }
  int64_t words(int64_t document) const { return static_cast<int64_t>(words_[document]); }
  /// Of the beginning of the text, the same for the same text in any corpus: decides what is held out.
  uint64_t hash(int64_t document) const { return hashes_[document]; }
  bool has_mask() const { return mask_ != nullptr; }
  bool is_dialogue(int64_t document) const { return !learned(begin(document + 1) - 1); }
  /// False for words of a dialogue that are not the assistant's.
  bool learned(int64_t token) const { return mask_ == nullptr || (mask_[token / 8] >> (token % 8) & 1) != 0; }
  /// Copies ids of [begin, begin + count).
  void read(int64_t begin, int64_t count, int64_t* ids) const;

  /// Makes two documents of one; the first has no end of text then.
  /// @param token        of the document, which the second one begins with
  /// @param bytes, words  of the second
  void split(int64_t document, int64_t token, int64_t bytes, int64_t words);

  const std::string& key() const { return key_; }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::string key_;
  int64_t documents_ = 0, tokens_ = 0;
  const void* ids_ = nullptr;
  bool wide_ = false;  ///< ids are uint32
  const uint64_t *begins_ = nullptr, *bytes_ = nullptr, *words_ = nullptr, *hashes_ = nullptr;
  const uint8_t* mask_ = nullptr;
  std::vector<uint64_t> own_begins_, own_bytes_, own_words_, own_hashes_;  ///< in place of the file's after a split
};

/// Hash of a document by its first part: see TokenFile::hash.
uint64_t document_hash(const DocumentPart& first);

/// Tokenises a corpus into a file, on several threads; the file is the same for any number of them. Memory grows with
/// the number of documents, not with their length.
/// @throws Error(data) for bad documents, or dialogues when the tokenizer has no tokens for them
void write_token_file(const std::filesystem::path& path, const std::string& key, DocumentReader& reader,
                      std::shared_ptr<const Tokenizer> tokenizer, int threads);

/// The tokens of a corpus: from the cache when text, tokenizer and options are those of last time, else made now. A
/// damaged cache file is made again. `what` names the corpus in the log.
std::shared_ptr<const TokenFile> open_tokens(const CorpusOptions& corpus, std::shared_ptr<const Tokenizer> tokenizer,
                                             const std::filesystem::path& cache_dir, int threads,
                                             const std::string& what);

/// data.cache_dir, or the user's cache folder for this program.
std::filesystem::path cache_folder(const std::string& cache_dir);

}  // namespace xinslm
