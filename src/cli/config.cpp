#include <iostream>
#include <memory>

#include "xinslm/cli/command.h"
#include "xinslm/config/settings.h"

namespace xinslm::cli {
namespace {

struct ShowOptions {
  std::string file;
  SettingsOverrides overrides;
  bool comments = false;
};

void add_show(CLI::App& config) {
  const auto options = std::make_shared<ShowOptions>();
  CLI::App* show = config.add_subcommand("show", "Print a configuration as it is used: every key with its value");
  show->add_option("FILE", options->file, "YAML file, for example configs/quickstart.yaml")->required();
  show->add_option("--set", options->overrides.assignments, "Override one key: section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  show->add_option("--model-variant", options->overrides.model_variant, "Take the model from this preset");
  show->add_option("--reasoning-effort", options->overrides.reasoning_effort, "Experts per token: low, medium or high");
  show->add_flag("--comments", options->comments, "Explain every key");
  show->callback(
      [options] { std::cout << dump_settings(load_settings(options->file, options->overrides), options->comments); });
}

}  // namespace

void add_config(CLI::App& program) {
  CLI::App* config = program.add_subcommand("config", "Show and explain configurations");
  config->require_subcommand(1);
  add_show(*config);
  config->add_subcommand("keys", "List every key with default, allowed values and meaning, as Markdown")->callback([] {
    std::cout << settings_reference();
  });
}

}  // namespace xinslm::cli
