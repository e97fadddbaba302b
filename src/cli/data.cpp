#include <cmath>
#include <iostream>
#include <memory>

#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"
#include "xinslm/core/json.h"
#include "xinslm/core/machine.h"
#include "xinslm/data/builtin_corpus.h"
#include "xinslm/data/training_data.h"
#include "xinslm/train/prepare.h"

namespace xinslm::cli {
namespace {

struct BuiltinFlags {
  int64_t documents = 10;
  int64_t seed = 42;
  bool json = false;
};

struct ConfigFlags {
  std::string config;
  SettingsOverrides overrides;
  int64_t batch = 0;
  bool json = false;
};

void print_builtin(const BuiltinFlags& flags) {
  for (int64_t i = 0; i < flags.documents; ++i) {
    const Story story = builtin_story(static_cast<uint64_t>(flags.seed), i);
    if (flags.json) {
      std::cout << dump_json({{"text", story.text}, {"nats", story.nats}}) << "\n";
    } else {
      std::cout << (i > 0 ? "<|endoftext|>\n" : "") << story.text << "\n";
    }
  }
}

struct Opened {
  Settings settings;
  std::shared_ptr<const Tokenizer> tokenizer;
  TrainingData data;
};

Opened open(const ConfigFlags& flags) {
  Opened opened;
  opened.settings = load_settings(flags.config, flags.overrides);
  configure_threads(static_cast<int>(opened.settings.device.threads));
  opened.tokenizer = open_tokenizer(opened.settings, "");
  opened.data = open_training_data(opened.settings, opened.tokenizer);
  return opened;
}

double bytes_per_token(const TextSize& size) {
  return static_cast<double>(size.bytes) / static_cast<double>(size.tokens);
}

Json size_json(const TextSize& size) {
  return {{"documents", size.documents}, {"tokens", size.tokens}, {"learned_tokens", size.learned_tokens},
          {"bytes", size.bytes},         {"words", size.words},   {"bytes_per_token", bytes_per_token(size)}};
}

void print_info(const ConfigFlags& flags) {
  const Opened opened = open(flags);
  const TrainingData& data = opened.data;
  if (flags.json) {
    Json json = {{"train", size_json(data.train_size)}};
    if (data.validation) json["validation"] = size_json(data.validation_size);
    json["vocab_size"] = opened.tokenizer->vocab_size();
    json["batches_per_epoch"] = data.train->batches_per_epoch();
    if (!std::isnan(data.builtin_bits_per_byte)) json["entropy_bits_per_byte"] = data.builtin_bits_per_byte;
    std::cout << dump_json(json, 2) << "\n";
    return;
  }
  Table table({"text", "documents", "tokens", "learned", "bytes", "words", "bytes per token"});
  const auto add = [&](const char* name, const TextSize& size) {
    table.add({name, grouped(size.documents), grouped(size.tokens), grouped(size.learned_tokens), grouped(size.bytes),
               grouped(size.words), fixed(bytes_per_token(size), 3)});
  };
  add("training", data.train_size);
  if (data.validation) add("validation", data.validation_size);
  const TrainingSettings& training = opened.settings.training;
  std::cout << table.text() << "vocabulary " << grouped(opened.tokenizer->vocab_size()) << "; an epoch is "
            << grouped(data.train->batches_per_epoch()) << " batches of " << training.per_device_train_batch_size
            << " x " << training.max_seq_length << " tokens\n";
  if (!std::isnan(data.builtin_bits_per_byte)) {
    std::cout << "entropy of the validation stories: " << fixed(data.builtin_bits_per_byte, 4) << " bits per byte\n";
  }
}

/// A row as text: its targets, with what the loss does not count in brackets.
std::string row_text(const Tokenizer& tokenizer, const Batch& batch, int64_t row) {
  const int64_t width = batch.tokens.size(1);
  const int64_t* tokens = batch.tokens.data_ptr<int64_t>() + row * width;
  const int64_t* targets = batch.targets.data_ptr<int64_t>() + row * width;
  std::string text;
  bool counted = true;
  for (int64_t i = 0; i < width; ++i) {
    // The last target that does not count is hidden, every other is the next input.
    if (targets[i] < 0 && i + 1 == width) continue;
    if ((targets[i] >= 0) != counted) text += counted ? "[" : "]";
    counted = targets[i] >= 0;
    text += tokenizer.token_bytes(static_cast<TokenId>(counted ? targets[i] : tokens[i + 1]));
  }
  return text + (counted ? "" : "]");
}

void print_batch(const ConfigFlags& flags) {
  const Opened opened = open(flags);
  const Batch batch = opened.data.train->batch(flags.batch);
  if (flags.json) {
    Json json = {{"batch", flags.batch}, {"target_tokens", batch.target_tokens}, {"target_bytes", batch.target_bytes}};
    for (int64_t row = 0; row < batch.tokens.size(0); ++row)
      json["rows"].push_back(row_text(*opened.tokenizer, batch, row));
    std::cout << dump_json(json, 2) << "\n";
    return;
  }
  for (int64_t row = 0; row < batch.tokens.size(0); ++row) {
    std::cout << bold(cat("row ", row)) << "\n" << row_text(*opened.tokenizer, batch, row) << "\n";
  }
  std::cout << grouped(batch.target_tokens) << " tokens the loss counts, " << grouped(batch.target_bytes)
            << " bytes of text\n";
}

std::shared_ptr<ConfigFlags> add_config_flags(CLI::App& command) {
  const auto flags = std::make_shared<ConfigFlags>();
  command.add_option("--config", flags->config, "YAML file, for example configs/quickstart.yaml")
      ->type_name("FILE")
      ->required();
  command.add_option("--set", flags->overrides.assignments, "override one key: section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_flag("--json", flags->json, "for scripts");
  return flags;
}

}  // namespace

void add_data(CLI::App& program) {
  CLI::App* data =
      program.add_subcommand("data", "show what text a configuration trains on; print the built-in stories");
  data->require_subcommand(1);

  const auto builtin = std::make_shared<BuiltinFlags>();
  CLI::App* stories = data->add_subcommand("builtin", "print stories of the built-in corpus");
  add_number(*stories, "--documents", builtin->documents, between(0, largest_count), "how many");
  add_number(*stories, "--seed", builtin->seed, at_least(0), "training.seed of the corpus");
  stories->add_flag("--json", builtin->json, "a JSON line a story, with -ln p(text) under the grammar");
  stories->footer("Example:\n  xinslm data builtin --documents 3 --seed 7");
  stories->callback([builtin] { print_builtin(*builtin); });

  CLI::App* info = data->add_subcommand("info", "tokenise the text of a configuration and count it");
  info->footer("Example:\n  xinslm data info --config configs/quickstart.yaml");
  info->callback([flags = add_config_flags(*info)] { print_info(*flags); });

  CLI::App* pack = data->add_subcommand("pack", "tokenise, pack, and print a batch as the model will see it");
  const auto flags = add_config_flags(*pack);
  add_number(*pack, "--batch", flags->batch, between(0, largest_count), "position in the run, from 0");
  pack->footer("Example:\n  xinslm data pack --config configs/quickstart.yaml --batch 5");
  pack->callback([flags] { print_batch(*flags); });

  data->footer("\"xinslm data COMMAND --help\" tells more about each.");
}

}  // namespace xinslm::cli
