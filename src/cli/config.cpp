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
  CLI::App* show = config.add_subcommand("show", "print a configuration as it is used: every key with its value");
  show->add_option("FILE", options->file, "YAML file, for example configs/quickstart.yaml")->required();
  show->add_option("--set", options->overrides.assignments, "override one key: section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  show->add_option("--model-variant", options->overrides.model_variant, "take the model from this preset");
  show->add_option("--reasoning-effort", options->overrides.reasoning_effort, "experts per token: low, medium or high");
  show->add_flag("--comments", options->comments, "explain every key");
  show->footer(
      "Examples:\n"
      "  xinslm config show configs/quickstart.yaml --comments\n"
      "  xinslm config show configs/light.yaml --set training.max_steps=100");
  show->callback(
      [options] { std::cout << dump_settings(load_settings(options->file, options->overrides), options->comments); });
}

}  // namespace

void add_config(CLI::App& program) {
  CLI::App* config = program.add_subcommand("config", "show and explain configurations");
  config->require_subcommand(1);
  add_show(*config);
  CLI::App* keys =
      config->add_subcommand("keys", "list every key with default, allowed values and meaning, as Markdown");
  keys->footer("Example:\n  xinslm config keys | grep learning_rate");
  keys->callback([] { std::cout << settings_reference(); });
  config->footer("\"xinslm config COMMAND --help\" tells more about each.");
}

}  // namespace xinslm::cli
