#include <ATen/Parallel.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/bench_options.h"
#include "cli/bench_report.h"
#include "config/nearest.h"
#include "xinslm/cli/bench_json.h"
#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/device.h"
#include "xinslm/core/error.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"
#include "xinslm/core/progress.h"
#include "xinslm/eval/divergence.h"
#include "xinslm/model/quantize.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm bench hellaswag --limit 500\n"
    "  xinslm bench perplexity --data data/wikitext-2/test.txt --line-end \" <eos> \" --json -\n"
    "  xinslm bench speed --model runs/quickstart/model -p 512 -n 128 -r 5\n"
    "  xinslm bench speed --model runs/quickstart/model -p 0 -n 64 -d 0,1000\n"
    "  xinslm bench all --json scores.json\n"
    "Scores follow EleutherAI's lm-evaluation-harness; scripts/get_data.sh NAME fetches the data.";

struct Task {
  const char* name;
  const char* data;  // where scripts/get_data.sh puts it; "" = needs none by default
  TaskResult (*run)(const Scorer&, const fs::path&, int64_t, const ShowProgress&);
};

constexpr Task tasks[] = {{"hellaswag", "data/hellaswag/hellaswag_val.jsonl", run_hellaswag},
                          {"lambada", "data/lambada/lambada_test.jsonl", run_lambada},
                          {"winogrande", "data/winogrande/dev.jsonl", run_winogrande},
                          {"wikitext", "data/wikitext-2-raw/test.txt", run_wikitext},
                          {"perplexity", "", nullptr},
                          {"divergence", "", nullptr},
                          {"speed", "", nullptr}};

const Task& find_task(const std::string& name) {
  std::vector<std::string> names;
  for (const Task& task : tasks) {
    if (name == task.name) return task;
    names.emplace_back(task.name);
  }
  names.emplace_back("all");
  usage_error("no benchmark \"", name, "\"", suggestion(name, names), "; there are ", enumerate(names, " and "));
}

/// The folder under data/ is the name that the script knows.
std::string how_to_fetch(const Task& task) {
  return cat("scripts/get_data.sh ", fs::path(task.data).parent_path().filename().string(), " fetches it");
}

/// The file a task reads. @throws Error(data) that says how to get it
fs::path data_file(const Task& task, const std::string& given) {
  const fs::path path = given.empty() ? task.data : given;
  if (fs::is_regular_file(path)) return path;
  if (!given.empty()) data_error(given, ": no such file");
  data_error(path.string(), ": no such file; ", how_to_fetch(task), ", or give --data FILE");
}

Settings needed_run_settings(const fs::path& model) {
  std::optional<Settings> settings = run_settings(model);
  if (!settings)
    usage_error("perplexity of what? ", model.string(), " lies in no run's folder; name a text with --data FILE");
  return *std::move(settings);
}

/// What the work gives, with a progress line while it lasts.
template <class Work>
auto with_progress(const std::string& name, const Work& work) {
  ProgressLine line;
  return work([&](double share) { line.update(share, [&] { return name; }); });
}

/// Scores are computed in the type of the weights, so that they do not depend on the machine; speed alone in that
/// which infer takes.
ModelOptions model_options(const BenchOptions& options) {
  ModelOptions model = options.model;
  model.auto_is_stored = options.tasks != std::vector<std::string>{"speed"};
  return model;
}

/// The model and what has been measured so far.
class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_(options), open_(open_model(model_options(options))) {
    json_ = {{"model", open_.folder.string()},
             {"dtype", compute_type_name(open_.model.type())},
             {"device", open_.model.device().str()},
             {"threads", at::get_num_threads()},
             {"processor", processor_name()}};
  }

  void run(const Task& task) {
    const std::string name = task.name;
    if (name == "speed") return run_speed();
    if (name == "perplexity") return run_perplexity();
    if (name == "divergence") return run_divergence();
    const TaskResult result = with_progress(name, [&](const ShowProgress& progress) {
      return task.run(scorer(open_.num_experts_per_tok), data_file(task, options_.data), options_.limit, progress);
    });
    print(task_table(result));
    json_[name] = task_json(result);
  }

  /// The keys of a single result stand at the top level, where scripts look for them.
  void finish() {
    print(faint(peak_memory_text()));
    if (options_.json.empty()) return;
    json_["peak_memory"] = peak_memory();
    if (options_.tasks.size() == 1 && json_.contains(options_.tasks[0])) {
      const Json only = json_[options_.tasks[0]];
      json_.erase(options_.tasks[0]);
      json_.update(only);
    }
    write_json_output(options_.json, dump_json(json_, 2));
  }

  /// What "all" would lack for a task, or "".
  std::string missing(const Task& task) const {
    if (task.name == std::string("perplexity"))
      return run_settings(open_.folder) ? "" : "the model lies in no run's folder";
    if (task.name == std::string("divergence")) return "it is about packed weights alone, and asked for by name";
    if (task.run == nullptr || fs::exists(task.data)) return "";
    return cat("no ", task.data, "; ", how_to_fetch(task));
  }

 private:
  /// With --json - standard output is the JSON alone.
  void print(const std::string& text) const {
    if (options_.json != "-") std::cout << text << std::endl;
  }

  Scorer scorer(int64_t experts) const {
    return {open_.model, open_.tokenizer, {experts, options_.context, options_.batch_tokens}};
  }

  /// The efforts to compare: all that differ, or the one asked for.
  std::vector<Effort> efforts() const {
    const ModelConfig& config = open_.model.config();
    if (!options_.model.effort.empty()) return {{options_.model.effort, open_.num_experts_per_tok}};
    if (config.num_experts < 2 || config.num_dense_layers >= config.num_hidden_layers) return {{"medium", 0}};
    std::vector<Effort> all;
    for (const char* name : {"low", "medium", "high"}) {
      const int64_t experts = config.experts_at(name);
      if (name == std::string("medium") || experts != config.num_experts_per_tok) all.push_back({name, experts});
    }
    return all;
  }

  PerplexityResult perplexity(const Effort& effort, const std::string& line_end) {
    return with_progress("perplexity, " + effort.name, [&](const ShowProgress& progress) {
      const Scorer scored = scorer(effort.experts);
      if (options_.data.empty()) return measure_run_perplexity(scored, needed_run_settings(open_.folder), progress);
      return measure_perplexity(
          scored, options_.data,
          {options_.stride, line_end, options_.separator, open_.model.config().document_attention}, progress);
    });
  }

  /// Line ends as the model learned them, unless told otherwise.
  std::string line_end() const {
    if (options_.given("--line-end") || options_.data.empty()) return options_.line_end;
    const std::string& learned = open_.model.config().line_end;
    if (!learned.empty()) log::info(cat("every end of line is read as \"", learned, "\", as the model learned it"));
    return learned;
  }

  void run_perplexity() {
    ByEffort<PerplexityResult> results;
    const std::string ends = line_end();
    if (!options_.data.empty() && open_.model.config().document_attention) {
      log::info("no document sees the one before it, as the model learned it (data.document_attention)");
    }
    for (const Effort& effort : efforts()) results.emplace_back(effort, perplexity(effort, ends));
    print(perplexity_table(results));
    json_["perplexity"] = perplexity_json(main_result(results));
    for (const auto& [effort, result] : results)
      json_["perplexity"]["by_effort"][effort.name] = perplexity_json(result);
  }

  /// Of packed weights computed with as they are, and of keys and values as they are kept, from exact arithmetic with
  /// the same weights.
  void run_divergence() {
    if (!open_.model.has_packed() && !options_.given("--kv-type")) {
      usage_error(open_.folder.string(),
                  ": has no packed weights, whose products could be inexact; with --kv-type the "
                  "divergence is measured that keeping keys and values costs");
    }
    const Transformer exact = dequantized(open_.model, at::kFloat);
    DivergenceOptions how{options_.context, options_.limit};
    if (options_.given("--kv-type")) how.kv_type = kv_type(options_.model).value_or(default_kv_type(open_.model));
    const DivergenceResult result = with_progress("divergence", [&](const ShowProgress& progress) {
      return measure_divergence(open_.model, exact, *open_.tokenizer, options_.data,
                                {0, line_end(), options_.separator}, how, progress);
    });
    print(divergence_table(result));
    json_["divergence"] = divergence_json(result);
  }

  void run_speed() {
    SpeedOptions how{options_.prompt,        options_.generate, options_.depths, options_.repetitions, 0,
                     kv_type(options_.model)};
    ByEffort<std::vector<SpeedResult>> results;
    for (const Effort& effort : efforts()) {
      how.num_experts_per_tok = effort.experts;
      results.emplace_back(effort, with_progress("speed, " + effort.name, [&](const ShowProgress& progress) {
                             return measure_speed(open_.model, how, progress);
                           }));
    }
    print(speed_table(how, results));
    json_["speed"] = speed_json(how, main_result(results));
    for (const auto& [effort, result] : results) json_["speed"]["by_effort"][effort.name] = speed_json(how, result);
  }

  BenchOptions options_;
  OpenModel open_;
  Json json_;
};

/// Options that none of the tasks looks at are mistakes.
void check_options(const BenchOptions& options) {
  const auto any = [&](auto... names) {
    return std::ranges::any_of(options.tasks, [&](const std::string& task) { return ((task == names) || ...); });
  };
  const auto refuse = [&](bool useful, std::initializer_list<const char*> names, const char* purpose) {
    for (const char* name : names) {
      if (!useful && options.given(name)) usage_error(name, " is for ", purpose);
    }
  };
  const bool all = any("all"), file = !options.data.empty();
  const bool scores = all || any("hellaswag", "lambada", "winogrande", "wikitext");
  const bool divergence = any("divergence"), text = divergence || (any("perplexity") && file);
  refuse(scores || divergence || any("perplexity"), {"--data"}, "benchmarks, perplexity and divergence");
  refuse(scores || any("perplexity"), {"--batch-tokens"}, "benchmarks and perplexity");
  refuse(scores || divergence, {"--limit"}, "hellaswag, lambada, winogrande, wikitext and divergence");
  refuse(any("perplexity") && file, {"--stride"}, "perplexity of a file, --data FILE");
  refuse(text, {"--line-end", "--separator"}, "perplexity and divergence of a file, --data FILE");
  refuse(scores || text, {"--context"}, "benchmarks, and perplexity and divergence of a file, --data FILE");
  if (divergence && !file) usage_error("divergence is measured over a text; name it with --data FILE");
  refuse(all || any("speed"), {"--prompt-tokens", "--generate-tokens", "--depth", "--repetitions"}, "speed");
  refuse(all || divergence || any("speed"), {"--kv-type"}, "speed and divergence");
}

/// What is asked for; all of it is known to be there before the model is opened.
std::vector<Task> chosen_tasks(const BenchOptions& options) {
  std::vector<Task> chosen;
  for (const std::string& name : options.tasks) chosen.push_back(find_task(name));
  if (!options.data.empty() && chosen.size() > 1) {
    usage_error("--data names the file of one benchmark; run them one by one");
  }
  for (const Task& task : chosen) {
    if (task.run != nullptr || !options.data.empty()) data_file(task, options.data);
  }
  return chosen;
}

/// Whatever has its data at hand; what has not is named.
void bench_all(const BenchOptions& options) {
  if (!options.data.empty()) usage_error("--data names the file of one benchmark; \"all\" has several");
  Bench bench(options);
  for (const Task& task : tasks) {
    const std::string missing = bench.missing(task);
    if (missing.empty()) {
      bench.run(task);
    } else {
      log::warning(cat(task.name, " left out: ", missing));
    }
  }
  bench.finish();
}

void bench(const BenchOptions& options) {
  for (const std::string& name : options.tasks) {
    if (name != "all") find_task(name);
  }
  check_options(options);
  if (std::ranges::find(options.tasks, "all") != options.tasks.end()) return bench_all(options);
  const std::vector<Task> chosen = chosen_tasks(options);
  Bench bench(options);
  for (const Task& task : chosen) bench.run(task);
  bench.finish();
}

void add_text_options(CLI::App& command, BenchOptions& options) {
  command
      .add_option("--data", options.data,
                  "file to measure on; default: where scripts/get_data.sh puts it; of "
                  "perplexity: the text that the model's run held out")
      ->type_name("FILE");
  add_number(command, "--limit", options.limit, between(0, largest_count), "first items (of wikitext: pages); 0 = all");
  add_number(command, "--context", options.context, between(0, 1 << 24),
             "tokens the model sees at once; 0 = as many as it can");
  add_number(command, "--stride", options.stride, between(0, 1 << 24),
             "perplexity: new tokens of each window; 0 = the context");
  command
      .add_option("--line-end", options.line_end,
                  "perplexity: replaces every end of line, for example \" <eos> \"; "
                  "default: as the model was trained (data.line_end)")
      ->type_name("TEXT");
  command.add_option("--separator", options.separator, "perplexity: line between documents")
      ->type_name("TEXT")
      ->capture_default_str();
  add_number(command, "--batch-tokens", options.batch_tokens, between(1, 1 << 30), "tokens computed at a time");
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* command = program.add_subcommand("bench", "measure a model: benchmark scores, perplexity, speed");
  const auto options = std::make_shared<BenchOptions>();
  options->command = command;
  command
      ->add_option("TASK", options->tasks,
                   "hellaswag, lambada, winogrande, wikitext, perplexity, speed, divergence or all")
      ->required();
  options->model.auto_is_stored = true;
  add_model_options(*command, options->model);
  add_kv_option(*command, options->model);
  add_text_options(*command, *options);
  add_number(*command, "-p,--prompt-tokens", options->prompt, between(0, 1 << 24),
             "speed: length of the prompt; 0 = leave out");
  add_number(*command, "-n,--generate-tokens", options->generate, between(0, 1 << 24),
             "speed: tokens generated; 0 = leave out");
  add_numbers(*command, "-d,--depth", options->depths, between(0, 1 << 24),
              "speed: tokens in the KV cache before the timing starts; several, 0,4000 say, take turns");
  add_number(*command, "-r,--repetitions", options->repetitions, between(1, 1000000), "speed: repetitions");
  command->add_option("--json", options->json, "write the results as JSON; - = standard output, in place of the table")
      ->type_name("FILE");
  command->footer(examples);
  command->callback([options] { bench(*options); });
}

}  // namespace xinslm::cli
