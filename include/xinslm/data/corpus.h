#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/tokenizer/chat_template.h"

namespace xinslm {

/// A stretch of a document as it is read. Long texts come in several parts, cut before a blank, so that memory stays
/// bounded and tokens are the same as those of the whole. A dialogue is always one part.
struct DocumentPart {
  std::string text;
  std::vector<ChatMessage> messages;  ///< not empty: a dialogue, and text is empty
  bool last = false;                  ///< ends the document
  std::string where;                  ///< "file:line" the document begins at, for errors

  /// Characters of text or of all messages.
  size_t size() const;
};

/// Lines that were left out because they cannot be read.
struct BadLines {
  int64_t count = 0;
  std::vector<std::string> first;  ///< what is wrong with the first few, each with "file:line"

  void add(const std::string& problem);
  /// How many, and the first ones, for a message; "" when there are none.
  std::string text() const;
};

/// Documents one after the other.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  /// False at the end of the corpus. @throws Error(data) naming file and line
  virtual bool next(DocumentPart& part) = 0;
  /// Left out so far, where that was asked for.
  virtual BadLines bad_lines() const { return {}; }
};

/// What is read and how it becomes documents.
struct CorpusOptions {
  std::vector<std::string> inputs;  ///< files, folders, globs, "-" (standard input), "builtin" (only by itself)
  std::string format = "auto";      ///< "text", "jsonl", or "auto": by the file's name, else by its first line
  std::string separator;            ///< line between documents of a text file; empty = one document per file
  std::string line_end;             ///< replaces each end of line of a text file; empty = lines stay as they are
  bool skip_bad_lines = false;      ///< JSON lines that cannot be read are left out and counted
  int64_t max_bytes = 0;            ///< stops after this much text; 0 = all
  int64_t builtin_documents = 0;
  uint64_t builtin_seed = 0;

  bool is_builtin() const { return inputs.size() == 1 && inputs[0] == "builtin"; }
};

CorpusOptions training_corpus(const Settings& settings);
/// The held-out files; inputs are empty when a share is held out instead.
CorpusOptions validation_corpus(const Settings& settings);

/// The files behind the inputs, in the order they are read, each once: folders are walked to the bottom for .txt,
/// .jsonl, .ndjson and .gz of these, links followed, hidden files and folders left out; the matches of a folder or glob
/// are sorted by name. Standard input and pipes are copied to a temporary file the first time (core/spool.h).
/// @throws Error(data) for what does not exist or matches nothing, Error(usage) for "builtin" among files
std::vector<std::filesystem::path> corpus_files(const std::vector<std::string>& inputs);

/// Opens a corpus for one pass. A broken JSON line, a gzip file that ends too early, bytes that are no text and the
/// like are errors of next(). Text documents between separator lines lose the line breaks at both ends; blank documents
/// are left out.
std::unique_ptr<DocumentReader> open_corpus(const CorpusOptions& options);

}  // namespace xinslm
