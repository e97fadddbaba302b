#include "xinslm/cli/common.h"

#include <algorithm>
#include <iostream>
#include <random>

#include "xinslm/cli/number_option.h"
#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/load.h"
#include "xinslm/train/run_folder.h"

namespace fs = std::filesystem;

namespace xinslm::cli {
namespace {

constexpr const char* how_to_get_one = "train one first: xinslm train --config configs/quickstart.yaml";

bool is_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored);
}

/// Finished models of runs: runs/NAME/model, newest first.
fs::path newest_model(const fs::path& runs) {
  fs::path newest;
  fs::file_time_type time;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(runs, ignored)) {
    const fs::path folder = entry.path() / "model";
    std::error_code unreadable;
    if (!fs::is_regular_file(folder / "config.json", unreadable)) continue;
    const auto written = fs::last_write_time(folder / "config.json", unreadable);
    if (!unreadable && (newest.empty() || written > time)) {
      newest = folder;
      time = written;
    }
  }
  return newest;
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--model", options.folder, "model folder; default: the newest finished model under ./runs")
      ->type_name("DIR");
  command
      .add_option("--reasoning-effort", options.effort,
                  "experts a token may use: low 1, medium as trained, high twice that")
      ->type_name("low|medium|high");
  command.add_option("--device", options.device, "auto, cpu or mps")->type_name("NAME")->capture_default_str();
  command
      .add_option("--dtype", options.dtype,
                  options.auto_is_stored
                      ? "auto (of the stored weights; for speed alone as infer), float32 or bfloat16"
                      : "auto (bfloat16 where the weights are, else the faster one here), float32 or bfloat16")
      ->type_name("NAME")
      ->capture_default_str();
  add_number(command, "--threads", options.threads, between(0, 1024), "processor threads; 0 = one per core");
}

void add_kv_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--kv-type", options.kv_type,
                  "what keys and values are kept in: float32, bfloat16, float16, q8 (8 bits) or auto (q8 with packed "
                  "weights on the processor, else the model's type)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16", "q8"}))
      ->capture_default_str();
}

std::optional<at::ScalarType> kv_type(const ModelOptions& options) {
  if (options.kv_type == "float32") return at::kFloat;
  if (options.kv_type == "bfloat16") return at::kBFloat16;
  if (options.kv_type == "float16") return at::kHalf;
  if (options.kv_type == "q8") return at::kChar;
  return {};
}

namespace {

/// Adds an option for each setting it is shown. Texts are checked as they are read and kept: what they replace is known
/// only when the model is open.
struct SamplingOptionAdder {
  CLI::App& command;
  std::map<std::string, std::string>& given;

  template <class T>
  void operator()(const char* key, const T& value, const Rule&, const std::string& help, const char* = "") {
    std::string name = cat("--", key);
    std::ranges::replace(name, '_', '-');
    const auto read = [key = std::string(key), name, &given = given](const std::string& text) {
      GenerationSettings checked;
      set_generation(checked, key, text, name);
      given[key] = text;
    };
    command.add_option_function<std::string>(name, read, help)
        ->type_name(std::is_integral_v<T> ? "N" : "X")
        ->default_str(cat("the model's, else ", value));
  }
};

void check_stop(const std::string& text) {
  if (text.empty()) usage_error("--stop is empty, expected at least one character");
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingFlags& flags) {
  SamplingOptionAdder add{command, flags.given};
  GenerationSettings defaults;
  defaults.describe(add);
  command
      .add_option_function<std::vector<std::string>>(
          "--stop",
          [&flags](const std::vector<std::string>& texts) {
            std::ranges::for_each(texts, check_stop);
            flags.stops = texts;
          },
          "text that ends an answer; may be given several times")
      ->type_name("TEXT")
      ->take_all()
      ->allow_extra_args(false);
}

GenerateOptions SamplingFlags::resolved(const OpenModel& open, int64_t max_tokens) const {
  GenerationSettings settings = open.generation;
  for (const auto& [key, text] : given) set_generation(settings, key, text, key);
  GenerateOptions generate;
  generate.sampling.take(settings);
  generate.sampling.seed = settings.seed >= 0 ? static_cast<uint64_t>(settings.seed) : std::random_device{}();
  generate.max_tokens = settings.max_tokens > 0 ? settings.max_tokens : max_tokens;
  generate.num_experts_per_tok = open.num_experts_per_tok;
  generate.stop_texts = stops;
  return generate;
}

fs::path find_model(const std::string& folder) {
  if (folder.empty()) {
    const fs::path newest = newest_model("runs");
    if (newest.empty()) data_error("no finished model under ./runs; give --model DIR, or ", how_to_get_one);
    log::info(cat("model: ", newest.string()));
    return newest;
  }
  const fs::path path(folder);
  if (is_model(path)) return path;
  if (is_model(path / "model")) return path / "model";
  if (!path_exists(path)) data_error("no model at ", folder, "; ", how_to_get_one);
  data_error(folder, ": not a model folder: it has no config.json");
}

std::optional<Settings> run_settings(const fs::path& model) {
  // RUN/model or RUN/checkpoints/STEP, possibly through the link RUN/checkpoints/latest.
  const fs::path folder = fs::weakly_canonical(model);
  for (const fs::path& root : {folder.parent_path(), folder.parent_path().parent_path()}) {
    if (const auto settings = RunFolder{root}.saved_settings()) return load_settings(*settings);
  }
  return std::nullopt;
}

namespace {

/// Type of the weights in a model folder: of the largest matrix, since gains and routers may be of another.
at::ScalarType stored_type(const fs::path& folder) {
  at::ScalarType type = at::kFloat;
  int64_t largest = 0;
  for (const auto& [name, tensor] : read_weights(folder)) {
    if (!at::isFloatingType(tensor.scalar_type()) || tensor.numel() <= largest) continue;
    type = tensor.scalar_type();
    largest = tensor.numel();
  }
  return type;
}

/// On a processor weights stored in bfloat16 stay so even where float32 products are faster: widened they would be
/// twice the bytes that each generated token reads.
at::ScalarType compute_type(const ModelOptions& options, const fs::path& folder, at::Device device) {
  if (options.dtype != "auto") return choose_compute_type(options.dtype, device);
  if (!options.auto_is_stored && !device.is_cpu()) return choose_compute_type(options.dtype, device);
  if (stored_type(folder) == at::kBFloat16) return at::kBFloat16;
  return options.auto_is_stored ? at::kFloat : choose_compute_type(options.dtype, device);
}

}  // namespace

OpenModel open_model(const ModelOptions& options) {
  const fs::path folder = find_model(options.folder);
  configure_threads(static_cast<int>(options.threads));
  const at::Device device = choose_device(options.device);
  const ModelConfig config = read_model_config(folder);
  const int64_t experts = options.effort.empty() ? 0 : config.experts_at(options.effort);
  auto tokenizer = load_tokenizer(folder);
  if (tokenizer->vocab_size() > config.vocab_size) {
    data_error(folder.string(), ": the tokenizer has ", tokenizer->vocab_size(), " tokens, the model only ",
               config.vocab_size, "; they do not belong together");
  }
  limit_memory(device, recommended_memory(device));
  forget_start_up_code();
  GenerationSettings generation = read_generation_config(folder, config.vocab_size).settings;
  return {folder, load_model(folder, device, compute_type(options, folder, device)), std::move(tokenizer), experts,
          generation};
}

std::string read_text_argument(const std::string& file_or_dash) {
  std::string text = file_or_dash == "-" ? read_standard_input() : read_file(file_or_dash);
  if (text.ends_with("\r\n")) {
    text.resize(text.size() - 2);
  } else if (text.ends_with('\n')) {
    text.pop_back();
  }
  return text;
}

void write_json_output(const std::string& file_or_dash, const std::string& json) {
  if (file_or_dash != "-") {
    write_file(file_or_dash, json + "\n");
  } else {
    std::cout << json << std::endl;
  }
}

}  // namespace xinslm::cli
