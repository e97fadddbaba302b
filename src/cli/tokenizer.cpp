#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/log.h"
#include "xinslm/data/corpus.h"
#include "xinslm/tokenizer/train_tokenizer.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

struct TrainFlags {
  TrainFlags() { corpus.separator = "<|endoftext|>"; }

  CorpusOptions corpus;
  TokenizerTrainingOptions training;
  std::string type = "bpe", out;
};

struct CodeFlags {
  std::string model;
  bool special = false;
};

/// The words of a corpus without its structure: parts of documents, or each message of a dialogue.
class CorpusText {
 public:
  explicit CorpusText(const CorpusOptions& options) : reader_(open_corpus(options)) {}

  std::optional<std::string_view> next() {
    while (message_ == part_.messages.size()) {
      if (!reader_->next(part_)) return std::nullopt;
      message_ = 0;
      if (part_.messages.empty()) return part_.text;
    }
    return part_.messages[message_++].content;
  }

 private:
  std::unique_ptr<DocumentReader> reader_;
  DocumentPart part_;
  size_t message_ = 0;
};

void train(TrainFlags flags) {
  const fs::path out = flags.out;
  std::error_code problem;
  if (fs::exists(out / "tokenizer.model", problem)) {
    usage_error(out.string(), " already has a tokenizer.model, which a model may depend on; choose another folder or ",
                "delete the file first");
  }
  flags.training.type = parse_tokenizer_type(flags.type);
  CorpusText text(flags.corpus);
  const auto tokenizer = train_tokenizer(flags.training, [&text] { return text.next(); });
  fs::create_directories(out, problem);
  if (problem) data_error(out.string(), ": cannot create the folder: ", problem.message());
  tokenizer->save(out);
  log::info(cat(out.string(), ": a ", flags.type, " tokenizer of ", tokenizer->vocab_size(), " tokens; ",
                peak_memory_text()));
}

void encode(const CodeFlags& flags) {
  const auto tokenizer = load_tokenizer(flags.model);
  const char* between = "";
  for (const TokenId id : tokenizer->encode(read_standard_input(), flags.special)) {
    std::cout << between << id;
    between = " ";
  }
  std::cout << "\n";
}

/// The ids of a text of numbers between blanks.
std::vector<TokenId> parse_ids(std::string_view text, int64_t vocab_size) {
  constexpr std::string_view blanks = " \t\r\n";
  std::vector<TokenId> ids;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
    if (text.empty()) return ids;
    const std::string_view word = text.substr(0, text.find_first_of(blanks));
    text.remove_prefix(word.size());
    TokenId id = -1;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), id);
    if (result.ec != std::errc{} || result.ptr != word.data() + word.size() || id < 0 || id >= vocab_size) {
      data_error("standard input: word ", ids.size() + 1, " is \"", word.substr(0, 40),
                 "\", expected a token id from 0 to ", vocab_size - 1);
    }
    ids.push_back(id);
  }
}

void decode(const CodeFlags& flags) {
  const auto tokenizer = load_tokenizer(flags.model);
  const auto ids = parse_ids(read_standard_input(), tokenizer->vocab_size());
  std::cout << tokenizer->decode(ids, flags.special);
}

void add_training(CLI::App& tokenizer) {
  const auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = tokenizer.add_subcommand("train", "learn a SentencePiece vocabulary from text");
  command
      ->add_option("--input", flags->corpus.inputs,
                   "files, folders or globs of .txt, .jsonl and .gz; - = standard input")
      ->type_name("FILE...")
      ->required();
  add_number(*command, "--vocab-size", flags->training.vocab_size, between(1, 1 << 24),
             "tokens in all: special ones, 256 bytes, learned pieces");
  command->add_option("--type", flags->type, "how pieces are found: bpe or unigram")
      ->type_name("TYPE")
      ->capture_default_str();
  command->add_option("--out", flags->out, "folder for tokenizer.model and tokenizer_config.json")
      ->type_name("DIR")
      ->required();
  command
      ->add_option("--symbol", flags->training.user_symbols,
                   "text that is always one token, for example <unk>; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  add_number(*command, "--character-coverage", flags->training.character_coverage, between(0.98, 1.0),
             "share of the characters with a token of their own; the rest is spelt in bytes");
  command->add_option("--separator", flags->corpus.separator, "line between documents; it is not learned from")
      ->type_name("TEXT")
      ->capture_default_str();
  add_number(*command, "--max-bytes", flags->corpus.max_bytes, between(0, largest_count),
             "stop reading after this much text; 0 = read all");
  command->footer(
      "Examples:\n"
      "  xinslm tokenizer train --input stories.txt --vocab-size 4096 --out tokenizer\n"
      "  xinslm tokenizer train --input wiki.txt --vocab-size 8192 --symbol '<unk>' --out tokenizer");
  command->callback([flags] { train(*flags); });
}

CLI::App* add_coding(CLI::App& tokenizer, const char* name, const char* help, const char* special_help,
                     void (*action)(const CodeFlags&)) {
  const auto flags = std::make_shared<CodeFlags>();
  CLI::App* command = tokenizer.add_subcommand(name, help);
  command->add_option("--model", flags->model, "model folder, tokenizer folder or tokenizer.model file")
      ->type_name("DIR")
      ->required();
  command->add_flag("--special", flags->special, special_help);
  command->callback([flags, action] { action(*flags); });
  return command;
}

}  // namespace

void add_tokenizer(CLI::App& program) {
  CLI::App* tokenizer = program.add_subcommand("tokenizer", "train a tokenizer; turn text into token ids and back");
  tokenizer->require_subcommand(1);
  add_training(*tokenizer);
  add_coding(*tokenizer, "encode", "text on standard input to ids on one line",
             "names of special tokens in the text, such as <|end|>, become those tokens", encode)
      ->footer("Example:\n  echo 'Once upon a time' | xinslm tokenizer encode --model tokenizer");
  add_coding(*tokenizer, "decode", "ids on standard input to the text they stand for, byte for byte",
             "write special tokens by their names instead of leaving them out", decode)
      ->footer(
          "Example:\n  xinslm tokenizer encode --model tokenizer < a.txt | xinslm tokenizer decode --model tokenizer");
  tokenizer->footer("\"xinslm tokenizer COMMAND --help\" tells more about each.");
}

}  // namespace xinslm::cli
