#include <iostream>
#include <memory>

#include "xinslm/cli/command.h"
#include "xinslm/cli/common.h"
#include "xinslm/cli/generation_json.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/json.h"
#include "xinslm/core/log.h"
#include "xinslm/core/random.h"
#include "xinslm/generate/generator.h"

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm infer --prompt \"Once upon a time\" --max-tokens 200 --seed 1\n"
    "  xinslm infer --model runs/quickstart/model --prompt-file start.txt --temperature 0\n"
    "  echo \"The king said\" | xinslm infer --prompt-file - --stop \".\" --json";

struct InferOptions {
  ModelOptions model;
  SamplingFlags sampling;
  std::string prompt, prompt_file;
  int64_t logprobs = 0, samples = 1;
  bool json = false, truncate = false;
  CLI::Option* prompt_option = nullptr;
};

std::string prompt_text(const InferOptions& options) {
  if (options.prompt_option->count() > 0) return options.prompt == "-" ? read_text_argument("-") : options.prompt;
  if (options.prompt_file.empty())
    usage_error("no prompt; give --prompt TEXT or --prompt-file FILE (- = standard input)");
  return read_text_argument(options.prompt_file);
}

/// The prompt as the beginning of a document, as in training; special tokens may be written out.
std::vector<TokenId> prompt_ids(const OpenModel& open, const InferOptions& options, int64_t max_tokens) {
  std::vector<TokenId> ids = open.tokenizer->encode(prompt_text(options), true);
  const bool begins = !ids.empty() && open.tokenizer->is_special(ids.front());
  if (!begins) ids.insert(ids.begin(), open.tokenizer->end_of_text());
  const int64_t context = open.model.config().max_position_embeddings;
  const auto length = static_cast<int64_t>(ids.size());
  if (length < context) return ids;
  if (!options.truncate) {
    usage_error("the prompt is ", length, " tokens long, the model takes at most ", context - 1,
                "; shorten it, or give --truncate to use its end");
  }
  // Room for the answer, but never less than half of the model for the prompt.
  const int64_t kept = std::max(context / 2, context - max_tokens);
  log::warning(cat("the prompt is ", length, " tokens long; its last ", kept, " are used"));
  ids.erase(ids.begin(), ids.end() - kept);
  return ids;
}

GenerateOptions generate_options(const OpenModel& open, const InferOptions& options) {
  constexpr int64_t default_tokens = 128;
  GenerateOptions generate = options.sampling.resolved(open, default_tokens);
  generate.logprobs = options.logprobs;
  generate.stop_tokens = text_ends(open.model.config(), *open.tokenizer);
  return generate;
}

void print_result(const GenerateResult& result, const OpenModel& open) {
  std::cout << std::endl;
  for (const TokenChoice& choice : result.tokens) {
    if (choice.alternatives.empty()) break;
    std::cout << describe_choice(choice, *open.tokenizer) << "\n";
  }
  std::cerr << speed_line(result) << std::endl;
}

void infer(const InferOptions& options) {
  const OpenModel open = open_model(options.model);
  GenerateOptions generate = generate_options(open, options);
  const std::vector<TokenId> ids = prompt_ids(open, options, generate.max_tokens);
  const uint64_t seed = generate.sampling.seed;
  Generator generator(open.model, open.tokenizer, kv_type(options.model));
  Json samples = Json::array();
  const InterruptGuard guard;
  for (int64_t sample = 0; sample < options.samples; ++sample) {
    // The first text of many is the one that the seed alone gives.
    if (sample > 0) generate.sampling.seed = mix_seed({seed, static_cast<uint64_t>(sample)});
    if (!options.json && options.samples > 1) std::cout << bold(cat("--- ", sample + 1)) << std::endl;
    const GenerateResult result = generator.generate(ids, generate, [&](const std::string& text) {
      if (!options.json) std::cout << text << std::flush;
      return static_cast<bool>(std::cout);
    });
    if (options.json) {
      samples.push_back(generation_json(result, *open.tokenizer));
    } else {
      print_result(result, open);
    }
    if (InterruptGuard::requested()) break;
  }
  if (options.json) write_json_output("-", dump_json(infer_json(open, seed, samples), 2));
  InterruptGuard::check();
}

}  // namespace

void add_infer(CLI::App& program) {
  CLI::App* command = program.add_subcommand("infer", "continue a prompt");
  const auto options = std::make_shared<InferOptions>();
  add_model_options(*command, options->model);
  add_kv_option(*command, options->model);
  options->prompt_option = command->add_option("--prompt", options->prompt,
                                               "text to continue; - = standard input without its last line end");
  options->prompt_option->type_name("TEXT");
  command
      ->add_option("--prompt-file", options->prompt_file,
                   "file with the text to continue, without its last line end; - = standard input")
      ->type_name("FILE")
      ->excludes(options->prompt_option);
  add_sampling_options(*command, options->sampling);
  add_number(*command, "--samples", options->samples, between(1, 1000000), "texts to generate");
  add_number(*command, "--logprobs", options->logprobs, between(0, 1 << 24), "show the n best tokens at every step");
  command->add_flag("--truncate", options->truncate, "use the end of a prompt that is too long");
  command->add_flag("--json", options->json, "text, ids, log-probabilities, counts and speeds as JSON");
  command->footer(examples);
  command->callback([options] { infer(*options); });
}

}  // namespace xinslm::cli
