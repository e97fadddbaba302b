#include "xinslm/model/quantize.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <vector>

#include "xinslm/cli/bench_json.h"
#include "xinslm/cli/command.h"
#include "xinslm/cli/common.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/progress.h"
#include "xinslm/eval/perplexity.h"
#include "xinslm/format/owned_files.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm quantize --model runs/tinystories/model --out runs/tinystories/mxfp4\n"
    "  xinslm quantize --model DIR --out DIR --eval valid.txt    # perplexity before and after\n"
    "  xinslm quantize --model DIR --out DIR --dense q8          # the other matrices in 8 bits\n"
    "The experts' matrices become MXFP4 (4.25 bits a weight); everything else stays as it is unless --dense says more.";

struct Flags {
  ModelOptions model;
  std::string out, rule = "mse", dense = "stored", eval, json;
  int64_t group_size = 32;
  bool force = false;
};

struct Perplexities {
  double before = 0, after = 0;
};

double perplexity_of(const Flags& flags, const fs::path& folder) {
  ModelOptions options = flags.model;
  options.folder = folder.string();
  options.auto_is_stored = true;
  const OpenModel open = open_model(options);
  const Scorer scorer(open.model, open.tokenizer, {.num_experts_per_tok = open.num_experts_per_tok});
  PerplexityOptions text;
  text.line_end = open.model.config().line_end;
  ProgressLine line;
  return measure_perplexity(
             scorer, flags.eval, text,
             [&](double share) { line.update(share, [&] { return "perplexity of " + folder.string(); }); })
      .perplexity();
}

DenseForm dense_form(const std::string& name) {
  if (name == "q8") return DenseForm::q8;
  return name == "bf16" ? DenseForm::bfloat16 : DenseForm::stored;
}

std::string relative(double rms) {
  return fixed(100 * rms, 2) + " %";
}

void print_reports(const std::vector<QuantizedTensorReport>& reports) {
  Table table({"tensor", "MB before", "MB after", "RMS error", "worst block", "at row, column"});
  for (const QuantizedTensorReport& report : reports) {
    const QuantError& error = report.error;
    table.add({report.name, fixed(static_cast<double>(report.bytes_before) / 1e6, 1),
               fixed(static_cast<double>(report.bytes_after) / 1e6, 1), relative(error.relative_rms()),
               relative(error.worst_block), cat(error.worst_row, ", ", error.worst_column)});
  }
  std::cout << table.text();
}

Json report_json(const Flags& flags, const std::vector<QuantizedTensorReport>& reports, const Perplexities& found) {
  Json json{{"model", flags.model.folder},    {"out", flags.out},     {"scale_rule", flags.rule},
            {"group_size", flags.group_size}, {"dense", flags.dense}, {"tensors", Json::array()}};
  for (const QuantizedTensorReport& report : reports) {
    json["tensors"].push_back({{"name", report.name},
                               {"bytes_before", report.bytes_before},
                               {"bytes_after", report.bytes_after},
                               {"relative_rms", report.error.relative_rms()},
                               {"worst_block", report.error.worst_block}});
  }
  if (!flags.eval.empty()) json["perplexity"] = {{"before", found.before}, {"after", found.after}};
  return json;
}

void quantize(Flags flags) {
  const fs::path source = find_model(flags.model.folder);
  flags.model.folder = source.string();
  check_model_target(flags.out, flags.force, source);
  Perplexities found;
  if (!flags.eval.empty()) found.before = perplexity_of(flags, source);
  const QuantizeOptions options{flags.rule == "spec" ? ScaleRule::spec : ScaleRule::mse, flags.group_size,
                                dense_form(flags.dense), flags.force};
  std::vector<QuantizedTensorReport> reports;
  const InterruptGuard interrupts;
  bool whole;
  {
    ProgressLine line;
    whole = quantize_model(source, flags.out, options, [&](const QuantizedTensorReport& report, double share) {
      reports.push_back(report);
      line.update(share, [&] { return report.name; });
      return !InterruptGuard::requested();
    });
  }
  if (!whole) {
    std::cerr << "stopped; " << flags.out << " was not written\n";
    throw Interrupted();
  }
  if (!flags.eval.empty()) found.after = perplexity_of(flags, flags.out);
  if (!flags.json.empty()) write_json_output(flags.json, dump_json(report_json(flags, reports, found), 2));
  if (flags.json == "-") return;
  print_reports(reports);
  std::cout << peak_memory_text() << "\n";
  if (!flags.eval.empty()) {
    std::cout << "perplexity of " << flags.eval << ": " << fixed(found.before, 4) << " before, "
              << fixed(found.after, 4) << " after (" << fixed(100 * (found.after / found.before - 1), 2) << " %)\n";
  }
  std::cout << "written: " << flags.out << "\n";
}

}  // namespace

void add_quantize(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("quantize", "write a model anew with its experts in MXFP4, 4 bits a weight");
  const auto flags = std::make_shared<Flags>();
  add_model_options(*command, flags->model);
  command->add_option("--out", flags->out, "folder for the new model")->type_name("DIR")->required();
  command
      ->add_option("--scale-rule", flags->rule, "mse: scale of least squared error; spec: OCP's, by the largest value")
      ->type_name("mse|spec")
      ->check(CLI::IsMember({"mse", "spec"}))
      ->capture_default_str();
  command
      ->add_option("--dense", flags->dense,
                   "attention, embedding and head: as stored, in bfloat16, or in blocks of 32 8-bit integers")
      ->type_name("stored|bf16|q8")
      ->check(CLI::IsMember({"stored", "bf16", "q8"}))
      ->capture_default_str();
  command->add_option("--group-size", flags->group_size, "neighbouring weights that share a scale")
      ->type_name("32|64|128")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str();
  command->add_option("--eval", flags->eval, "text to measure perplexity on, before and after")->type_name("FILE");
  command->add_option("--json", flags->json, "write the report as JSON; - = standard output, in place of the table")
      ->type_name("FILE");
  command->add_flag("--force", flags->force, "replace a model that xinslm wrote at --out");
  command->footer(examples);
  command->callback([flags] { quantize(*flags); });
}

}  // namespace xinslm::cli
