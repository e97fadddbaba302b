#include <filesystem>
#include <iostream>
#include <memory>

#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/machine.h"
#include "xinslm/format/owned_files.h"
#include "xinslm/model/random_model.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm init --preset standard --tokenizer runs/quickstart/model --out models/standard --mxfp4\n"
    "  xinslm init --preset gpt-oss-20b --tokenizer DIR --out DIR --mxfp4    # 13 GB, to measure speed and memory\n"
    "  xinslm init --config configs/light.yaml --tokenizer DIR --out DIR     # to train from with --init";

struct Flags {
  std::string config, preset, tokenizer, out;
  std::vector<std::string> assignments;
  bool packed = false, force = false;
  int64_t seed = 42;
};

/// The model and what is written beside it; what a run of the configuration would need besides does not matter.
Settings settings_of(const Flags& flags) {
  if (flags.config.empty() == flags.preset.empty()) usage_error("give --config FILE or --preset NAME, and not both");
  SettingsOverrides overrides;
  overrides.model_variant = flags.preset;
  overrides.assignments = flags.assignments;
  if (flags.config.empty()) return parse_settings("", "preset " + flags.preset, overrides, Purpose::model);
  return load_settings(flags.config, overrides, Purpose::model);
}

void init(const Flags& flags) {
  check_model_target(flags.out, flags.force, flags.tokenizer);
  const InterruptGuard interrupts;
  const auto tokenizer = load_tokenizer(flags.tokenizer);
  const Settings settings = settings_of(flags);
  ModelConfig model = settings.model;
  if (tokenizer->vocab_size() > model.vocab_size) {
    usage_error("the tokenizer in ", flags.tokenizer, " has ", tokenizer->vocab_size(), " tokens, the model only ",
                model.vocab_size, "; set model.vocab_size");
  }
  if (model.eos_token_id < 0) model.eos_token_id = tokenizer->end_of_text();
  configure_threads(0);
  write_random_model(flags.out, model, *tokenizer, flags.packed, static_cast<uint64_t>(flags.seed), flags.force,
                     settings.generation);
  std::cout << "written: " << flags.out << "; " << peak_memory_text() << "\n";
}

}  // namespace

void add_init(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("init", "write an untrained model, to train from or to measure speed with");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--config", flags->config, "YAML file whose model is meant")->type_name("FILE");
  command->add_option("--preset", flags->preset, "preset whose model is meant")->type_name("NAME");
  command->add_option("--set", flags->assignments, "override one key: section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--tokenizer", flags->tokenizer, "model folder or file that the tokenizer is taken from")
      ->type_name("DIR")
      ->required();
  command->add_option("--out", flags->out, "folder for the model")->type_name("DIR")->required();
  command->add_flag("--mxfp4", flags->packed, "experts in MXFP4");
  add_number(*command, "--seed", flags->seed, at_least(0), "random numbers follow from it");
  command->add_flag("--force", flags->force, "replace a model that xinslm wrote at --out");
  command->footer(examples);
  command->callback([flags] { init(*flags); });
}

}  // namespace xinslm::cli
