#include "xinslm/tokenizer/tokenizer.h"

#include "tokenizer/sentencepiece_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace xinslm {

std::string Tokenizer::decode(std::span<const TokenId> ids, bool keep_special) const {
  std::string text;
  for (const TokenId id : ids) {
    if (keep_special || !is_special(id)) text += token_bytes(id);
  }
  return text;
}

TokenId Tokenizer::end_of_text() const {
  const auto id = special_id("<|endoftext|>");
  if (!id) {
    data_error("the tokenizer has no <|endoftext|> token to separate documents; make one with: xinslm tokenizer train");
  }
  return *id;
}

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) data_error(path.string(), ": no such tokenizer file or model folder");
  fs::path file = path;
  if (fs::is_directory(path, ignored)) {
    file = path / "tokenizer.model";
    if (!fs::exists(file, ignored)) {
      if (fs::exists(path / "tokenizer.json", ignored)) {
        data_error(path.string(),
                   " has a tokenizer.json but no tokenizer.model: byte-level BPE files are not supported ",
                   "by this version of xinslm; make a tokenizer with: xinslm tokenizer train");
      }
      data_error(path.string(), ": no tokenizer.model in this folder; make one with: xinslm tokenizer train");
    }
  } else if (path.extension() == ".json") {
    data_error(path.string(), ": byte-level BPE files (tokenizer.json) are not supported by this version of xinslm; ",
               "a tokenizer.model was expected");
  }
  return std::make_shared<SentencePieceTokenizer>(read_file(file), file.string());
}

}  // namespace xinslm
