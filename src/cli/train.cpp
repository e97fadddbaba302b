#include "xinslm/train/train.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/log.h"
#include "xinslm/core/progress.h"
#include "xinslm/core/shell.h"
#include "xinslm/train/loss_curve.h"
#include "xinslm/train/resume_settings.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

constexpr const char* default_runs = "runs";

constexpr const char* examples =
    "Examples:\n"
    "  xinslm train --config configs/quickstart.yaml\n"
    "  xinslm train --config configs/tinystories.yaml --set training.max_minutes=30\n"
    "  xinslm train --resume runs/tinystories          # after Ctrl-C, to the same bits\n"
    "  xinslm train --config configs/dialogues.yaml --init runs/tinystories/model\n"
    "\"xinslm config keys\" lists every setting.";

struct Flags {
  std::string config, out, init, device;
  std::string resume;  // folder; "" = the newest run
  bool resuming = false, force = false;
  int64_t threads = 0;
  SettingsOverrides overrides;
  const CLI::Option* threads_option = nullptr;
};

/// --device and --threads are short for settings.
SettingsOverrides overrides_of(const Flags& flags) {
  SettingsOverrides overrides = flags.overrides;
  if (!flags.device.empty()) overrides.assignments.push_back("device.device=" + flags.device);
  if (flags.threads_option->count() > 0) overrides.assignments.push_back(cat("device.threads=", flags.threads));
  return overrides;
}

RunFolder new_run(const Flags& flags, const Settings& settings) {
  if (!flags.out.empty()) return {flags.out};
  if (settings.origins.contains("training.output_dir")) return {settings.training.output_dir};
  return {fs::path(default_runs) / fs::path(flags.config).stem()};
}

TrainRequest new_request(const Flags& flags) {
  if (flags.config.empty()) usage_error("train needs --config FILE, for example --config configs/quickstart.yaml");
  TrainRequest request;
  request.settings = load_settings(flags.config, overrides_of(flags));
  request.run = new_run(flags, request.settings);
  std::error_code ignored;
  if (fs::equivalent(flags.config, request.run.settings(), ignored)) {
    usage_error(flags.config, ": is where the run in ", request.run.root.string(),
                " saves its own settings; copy it to another place first, or give another folder with --out");
  }
  request.replace = flags.force;
  request.init = flags.init;
  return request;
}

/// The run's own settings with the command line's on top, or those of --config where they are compatible.
TrainRequest resume_request(const Flags& flags) {
  if (!flags.init.empty())
    usage_error("--init starts a new run and --resume goes on with an old one; give one of them");
  const std::string folder = !flags.resume.empty() ? flags.resume : flags.out;
  TrainRequest request;
  request.resume = true;
  request.run = find_run(folder.empty() ? fs::path(default_runs) : fs::path(folder));
  if (folder.empty() || request.run.root != fs::path(folder)) log::info("resuming " + request.run.root.string());
  const fs::path saved = request.run.saved_settings().value();
  const Settings before = load_settings(saved);
  request.settings = load_settings(flags.config.empty() ? saved : fs::path(flags.config), overrides_of(flags));
  check_resumed_settings(before, request.settings, request.run.root.string());
  return request;
}

std::string score_text(const ValidationScore& score) {
  return cat(fixed(score.loss, 4), " nats/token, ", fixed(score.bits_per_byte, 4), " bits/byte, perplexity ",
             fixed(score.perplexity, 2));
}

void print_result(const RunFolder& run, const TrainingOutcome& outcome) {
  std::cout << loss_curve_text(read_metrics(run.metrics())) << "\n";
  const auto row = [](const std::string& name, const std::string& value) {
    std::cout << name << std::string(name.size() < 20 ? 20 - name.size() : 1, ' ') << value << "\n";
  };
  row("steps",
      cat(grouped(outcome.step), " (", grouped(outcome.tokens), " tokens, ", fixed(outcome.epochs, 2),
          outcome.epochs == 1 ? " epoch" : " epochs", ") in ", duration_text(outcome.seconds),
          outcome.end == TrainingOutcome::End::early_stopped ? ", stopped early: validation no longer improved" : ""));
  if (outcome.bad_steps > 0) row("steps skipped", cat(outcome.bad_steps, ", not finite"));
  std::string speed = grouped(std::llround(outcome.tokens_per_second)) + " tokens/s (median)";
  if (!std::isnan(outcome.peak_share))
    speed += ", " + fixed(100 * outcome.peak_share, 1) + " % of the matrix-product peak";
  if (!std::isnan(outcome.tokens_per_second)) row("speed", speed);
  row("peak memory", fixed(static_cast<double>(outcome.peak_memory) / (1 << 30), 2) + " GiB");
  row("training loss", fixed(outcome.training_loss, 4) + " nats/token, smoothed");
  if (outcome.last) row("validation", score_text(*outcome.last));
  if (outcome.averaged) row("  averaged weights", score_text(*outcome.averaged));
  if (outcome.packed) row("  quantised", score_text(*outcome.packed));
  if (!std::isnan(outcome.entropy)) {
    row("entropy of the text", fixed(outcome.entropy, 4) + " bits/byte: what no model can beat");
  }
  row("saved", cat(outcome.saved, ": ", run.model().string()));
  row("report", run.report().string());
}

void print_next(const RunFolder& run) {
  const std::string model = shell_quoted(run.model().string());
  std::cout << "\nNext:\n"
            << "  xinslm infer --model " << model << " --prompt \"Once upon a time\"\n"
            << "  xinslm chat --model " << model << "\n"
            << "  xinslm bench speed --model " << model << "\n";
}

void run_training(const Flags& flags) {
  const TrainRequest request = flags.resuming ? resume_request(flags) : new_request(flags);
  const TrainingOutcome outcome = train(request);
  if (outcome.end == TrainingOutcome::End::interrupted) {
    log::info(cat("stopped and saved at step ", outcome.step, "; go on with: xinslm train --resume ",
                  shell_quoted(request.run.root.string())));
    throw Interrupted();
  }
  print_result(request.run, outcome);
  print_next(request.run);
}

}  // namespace

void add_train(CLI::App& program) {
  CLI::App* command = program.add_subcommand("train", "train a model, or go on with a run that was stopped");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--config", flags->config, "settings, for example configs/quickstart.yaml")->type_name("FILE");
  command->add_option("--set", flags->overrides.assignments, "override one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--out", flags->out, "folder of the run; default: runs/ and the name of the config file")
      ->type_name("DIR");
  CLI::Option* resume =
      command
          ->add_option("--resume", flags->resume, "go on with a run that was stopped; default: the newest under ./runs")
          ->type_name("[DIR]")
          ->expected(0, 1);
  command->add_option("--init", flags->init, "start from the weights and tokenizer of this model folder")
      ->type_name("DIR");
  command->add_flag("--force", flags->force, "replace an earlier run in the same folder");
  command->add_option("--model-variant", flags->overrides.model_variant, "preset, or a variant the config file defines")
      ->type_name("NAME");
  command
      ->add_option("--reasoning-effort", flags->overrides.reasoning_effort,
                   "experts per token: 1, as configured, or twice that")
      ->type_name("low|medium|high");
  command->add_option("--device", flags->device, "auto, cpu or mps")->type_name("NAME");
  flags->threads_option =
      add_number(*command, "--threads", flags->threads, between(0, 1024), "processor threads; 0 = one per core");
  command->footer(examples);
  command->callback([flags, resume] {
    flags->resuming = resume->count() > 0;
    run_training(*flags);
  });
}

}  // namespace xinslm::cli
