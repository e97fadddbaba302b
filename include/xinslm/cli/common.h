#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "xinslm/config/settings.h"
#include "xinslm/generate/generator.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm::cli {

/// Options of every subcommand that opens a model.
struct ModelOptions {
  std::string folder;  ///< "" = the newest finished model under ./runs
  std::string device = "auto", dtype = "auto", kv_type = "auto", effort;
  bool auto_is_stored = false;  ///< dtype "auto" means the type of the weights in the file, whatever is faster
  int64_t threads = 0;
};

void add_model_options(CLI::App& command, ModelOptions& options);

/// Option of every subcommand that keeps keys and values.
void add_kv_option(CLI::App& command, ModelOptions& options);
/// What --kv-type says; nothing for auto. @throws Error(usage)
std::optional<at::ScalarType> kv_type(const ModelOptions& options);

struct OpenModel {
  std::filesystem::path folder;
  Transformer model;
  std::shared_ptr<const Tokenizer> tokenizer;
  int64_t num_experts_per_tok;    ///< as the reasoning effort says
  GenerationSettings generation;  ///< as the model's generation_config.json says
};

/// Options of every subcommand that samples: one for each of the GenerationSettings, and --stop.
struct SamplingFlags {
  std::map<std::string, std::string> given;  ///< key of a setting -> the text of its option
  std::vector<std::string> stops;

  /// How to generate with this model: as the options say, where there is none as the model does. Each call draws a seed
  /// of its own where neither gives one.
  /// @param max_tokens  longest answer where neither says more
  GenerateOptions resolved(const OpenModel& open, int64_t max_tokens) const;
};

void add_sampling_options(CLI::App& command, SamplingFlags& flags);

/// The folder asked for (a run's folder stands for the model in it), or the newest finished model under ./runs, which
/// is then named on standard error. @throws Error(data) that says what was looked for and how to get a model
std::filesystem::path find_model(const std::string& folder);

/// The settings of the run whose folder holds the model, if it lies in one.
/// @throws Error when they are there and damaged
std::optional<Settings> run_settings(const std::filesystem::path& model);

/// Sets the threads and opens model and tokenizer. @throws Error(usage), Error(data)
OpenModel open_model(const ModelOptions& options);

/// A text of the command line: the file's content, or standard input for "-", without the end of its last line, which
/// editors and echo put there. @throws Error(data)
std::string read_text_argument(const std::string& file_or_dash);

/// Writes JSON to a file, or to standard output for "-".
void write_json_output(const std::string& file_or_dash, const std::string& json);

}  // namespace xinslm::cli
