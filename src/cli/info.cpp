#include <iostream>
#include <memory>
#include <string>

#include "xinslm/cli/command.h"
#include "xinslm/cli/common.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/json.h"
#include "xinslm/core/machine.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/estimate.h"
#include "xinslm/model/token_work.h"
#include "xinslm/model/transformer.h"

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm info --config configs/light.yaml\n"
    "  xinslm info --config configs/light.yaml --batch 4 --length 1024\n"
    "  xinslm info --model runs/quickstart/model --json\n"
    "Everything is counted from the shapes; nothing is allocated.";

struct Flags {
  std::string config, model;
  SettingsOverrides overrides;
  int64_t length = 0, batch = 0;
  bool json = false;
};

/// What is asked about: a configuration, or a model folder inside the settings of its run.
struct Subject {
  std::string name;
  Settings settings;
  int64_t cache_length;  // tokens the KV cache is counted at
  int64_t cache_batch;
};

Settings settings_of(const Flags& flags, std::string& name) {
  if (!flags.config.empty()) {
    name = flags.config;
    return load_settings(flags.config, flags.overrides);
  }
  if (!flags.overrides.assignments.empty() || !flags.overrides.model_variant.empty()) {
    usage_error("--set and --model-variant change a configuration; give one with --config FILE");
  }
  const auto folder = find_model(flags.model);
  name = folder.string();
  Settings settings = run_settings(folder).value_or(default_settings());
  settings.model = read_model_config(folder);
  settings.training.max_seq_length = std::min(settings.training.max_seq_length, settings.model.max_position_embeddings);
  return settings;
}

Subject subject_of(const Flags& flags) {
  if (!flags.config.empty() && !flags.model.empty()) usage_error("give --config FILE or --model DIR, not both");
  Subject subject;
  subject.settings = settings_of(flags, subject.name);
  Settings& settings = subject.settings;
  const int64_t longest = settings.model.max_position_embeddings;
  if (flags.length > longest) {
    usage_error("--length is ", flags.length, ", but the model has positions for ", longest,
                " tokens (max_position_embeddings)");
  }
  if (flags.length > 0) settings.training.max_seq_length = flags.length;
  if (flags.batch > 0) settings.training.per_device_train_batch_size = flags.batch;
  subject.cache_length = flags.length > 0 ? flags.length : longest;
  subject.cache_batch = flags.batch > 0 ? flags.batch : 1;
  return subject;
}

/// What one token after the others of the length asked for reads and computes.
std::vector<TokenWork> work_of(const Subject& subject) {
  auto parts = token_work(subject.settings.model, subject.cache_length - 1);
  parts.push_back(total_work(parts));
  return parts;
}

Json token_json(const Subject& subject) {
  Json json = Json::array();
  for (const TokenWork& one : work_of(subject)) {
    json.push_back({{"part", one.part},
                    {"parameters", one.parameters},
                    {"bytes_dense_16_bits", one.bytes16},
                    {"bytes_dense_8_bits", one.bytes8},
                    {"flops", one.flops}});
  }
  return json;
}

Json json_of(const Subject& subject) {
  const Settings& settings = subject.settings;
  const ParameterCounts counts = count_parameters(settings.model);
  const WeightMemory weights = weight_memory(settings.model);
  const TrainingMemory training = training_memory(settings);
  const auto cache = [&](at::ScalarType type) {
    return kv_cache_memory(settings.model, subject.cache_batch, subject.cache_length, type);
  };
  Json json;
  json["name"] = subject.name;
  json["model_type"] = settings.model.is_gpt_oss() ? "gpt_oss" : "xinslm_moe";
  json["parameters"] = {{"total", counts.total}, {"active", counts.active}, {"expert_matrices", counts.expert}};
  json["weights_bytes"] = {{"float32", weights.float32}, {"bfloat16", weights.bfloat16}, {"mxfp4", weights.mxfp4}};
  json["training"] = {{"batch", settings.training.per_device_train_batch_size},
                      {"length", settings.training.max_seq_length},
                      {"gradient_checkpointing", settings.training.gradient_checkpointing},
                      {"weights_bytes", training.weights},
                      {"gradients_bytes", training.gradients},
                      {"optimizer_bytes", training.optimizer},
                      {"average_bytes", training.average},
                      {"activations_bytes", training.activations},
                      {"program_bytes", training.program},
                      {"total_bytes", training.total()}};
  json["kv_cache"] = {{"batch", subject.cache_batch},
                      {"length", subject.cache_length},
                      {"float32_bytes", cache(at::kFloat)},
                      {"bfloat16_bytes", cache(at::kBFloat16)},
                      {"q8_bytes", cache(at::kChar)}};
  json["token"] = token_json(subject);
  json["machine_bytes"] = total_memory();
  json["usable_bytes"] = usable_memory(settings);
  return json;
}

/// The share of the memory that may be used, with a word where it is more than all of it.
std::string share(int64_t bytes, int64_t available) {
  const double percent = 100.0 * static_cast<double>(bytes) / static_cast<double>(available);
  return fixed(percent, percent < 10 ? 1 : 0) + " %" + (bytes > available ? " (too much)" : "");
}

void print_parameters(const Subject& subject) {
  const ModelConfig& model = subject.settings.model;
  const ParameterCounts counts = count_parameters(model);
  Table table({"parameters", "count"});
  table.add({"total", grouped(counts.total)});
  table.add({"active per token", grouped(counts.active)});
  table.add({"in experts' matrices", grouped(counts.expert)});
  std::cout << subject.name << ": " << (model.is_gpt_oss() ? "gpt_oss" : "xinslm_moe") << ", "
            << model.num_hidden_layers << " layers, hidden " << model.hidden_size << ", " << model.num_experts
            << " experts, " << model.num_experts_per_tok << " per token\n\n"
            << table.text() << '\n';
}

void print_memory(const Subject& subject) {
  const Settings& settings = subject.settings;
  const int64_t available = usable_memory(settings);
  const WeightMemory weights = weight_memory(settings.model);
  const TrainingMemory training = training_memory(settings);
  Table table({"memory", "size", "of " + memory_text(available)});
  const auto row = [&](const std::string& name, int64_t bytes) {
    table.add({name, memory_text(bytes), share(bytes, available)});
  };
  row("weights, float32", weights.float32);
  row("weights, bfloat16", weights.bfloat16);
  row("weights, experts in MXFP4", weights.mxfp4);
  const std::string cache = cat("KV cache, ", subject.cache_batch, " x ", subject.cache_length, " tokens");
  for (const auto& [name, type] : {std::pair{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"q8", at::kChar}}) {
    row(cat(cache, ", ", name), kv_cache_memory(settings.model, subject.cache_batch, subject.cache_length, type));
  }
  row(cat("training, ", settings.training.per_device_train_batch_size, " x ", settings.training.max_seq_length,
          " tokens", settings.training.gradient_checkpointing ? ", checkpointing" : ""),
      training.total());
  row("  weights", training.weights);
  row("  gradients", training.gradients);
  row("  optimiser", training.optimizer);
  if (training.average > 0) row("  moving average", training.average);
  row("  activations", training.activations);
  row("  program", training.program);
  std::cout << table.text();
  if (training.total() <= available) return;
  for (const MemoryRemedy& remedy : memory_remedies(settings, available)) {
    std::cout << "training fits with " << remedy.change << " (" << memory_text(remedy.needed) << ")\n";
  }
}

/// Generation is bound by what it reads: bytes a second of the memory over these bytes are its tokens a second at best.
void print_token(const Subject& subject) {
  Table table({cat("token ", grouped(subject.cache_length), ", experts in MXFP4"), "read, dense 16 bits",
               "dense 8 bits", "arithmetic"});
  for (const TokenWork& one : work_of(subject)) {
    table.add({one.part, memory_text(one.bytes16), memory_text(one.bytes8), fixed(one.flops / 1e6, 1) + " MF"});
  }
  std::cout << '\n' << table.text();
}

void show(const Flags& flags) {
  const Subject subject = subject_of(flags);
  if (flags.json) {
    std::cout << dump_json(json_of(subject), 2) << '\n';
    return;
  }
  print_parameters(subject);
  print_memory(subject);
  print_token(subject);
}

}  // namespace

void add_info(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      program.add_subcommand("info", "count a model's parameters and memory before anything is allocated");
  command->add_option("--config", flags->config, "YAML file of a run");
  command->add_option("--model", flags->model, "model folder; without it and --config: the newest finished model");
  command->add_option("--model-variant", flags->overrides.model_variant, "take the model from this preset");
  command->add_option("--set", flags->overrides.assignments, "override one key: section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  add_number(*command, "--length", flags->length, between(1, 1 << 24),
             "tokens of a sequence, in training and in the KV cache");
  add_number(*command, "--batch", flags->batch, between(1, 1 << 20),
             "sequences at a time, in training and in the KV cache");
  command->add_flag("--json", flags->json, "print JSON, in bytes");
  command->footer(examples);
  command->callback([flags] { show(*flags); });
}

}  // namespace xinslm::cli
