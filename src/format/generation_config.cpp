#include "config/fields.h"
#include "format/json_fields.h"
#include "format/token_ids.h"
#include "xinslm/format/model_folder.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr const char* file_name = "generation_config.json";
// What transformers has no key for, or allows only where it samples, stands under a key of ours.
constexpr const char* our_key = "xinslm";

/// transformers' word for a setting.
std::string json_key(const Field& field) {
  const std::string name = name_of(field.key);
  return name == "max_tokens" ? "max_new_tokens" : name;
}

void read_value(JsonFields& fields, const std::string& key, const Field& field) {
  if (auto* number = std::get_if<double*>(&field.value)) {
    fields.read(key, **number);
  } else {
    fields.read(key, *std::get<int64_t*>(field.value));
  }
}

/// Sets what the object has. @throws Error(data) naming the file and its own key
void read_settings(const Json& object, const std::string& where, GenerationSettings& settings) {
  JsonFields fields(object, where);
  for (Field& field : collect_fields(settings).fields) {
    field.key = json_key(field);
    read_value(fields, field.key, field);
    try {
      check_value(field, where);
    } catch (const Error& problem) {
      data_error(problem.what());  // a model folder is data, not a setting of the user's
    }
  }
}

/// Keys that transformers refuses unless do_sample is set.
bool of_sampling_alone(const std::string& key) {
  return key == "temperature" || key == "top_k" || key == "top_p" || key == "min_p";
}

Json value_json(const Field& field) {
  if (const auto* number = std::get_if<double*>(&field.value)) return **number;
  return *std::get<int64_t*>(field.value);
}

void write_settings(Json& json, GenerationSettings settings) {
  const bool samples = settings.temperature > 0;
  Json ours = Json::object();
  json["do_sample"] = samples;
  for (const Field& field : collect_fields(settings).fields) {
    const std::string key = json_key(field);
    if (key == "seed") {
      if (settings.seed >= 0) ours[key] = settings.seed;
    } else if (key == "max_new_tokens") {
      if (settings.max_tokens > 0) json[key] = settings.max_tokens;
    } else {
      (samples || !of_sampling_alone(key) ? json : ours)[key] = value_json(field);
    }
  }
  if (!ours.empty()) json[our_key] = ours;
}

}  // namespace

GenerationConfig read_generation_config(const fs::path& folder, int64_t vocab_size) {
  const fs::path file = folder / file_name;
  GenerationConfig config;
  std::error_code unreadable;
  if (!fs::exists(file, unreadable)) return config;
  const Json json = read_json(file);
  JsonFields fields(json, file.string());
  config.eos_token_ids = read_ids(fields, "eos_token_id");
  for (const int64_t id : config.eos_token_ids) {
    if (id >= vocab_size) {
      fields.fail("eos_token_id", *fields.find("eos_token_id"), cat("expected less than vocab_size ", vocab_size));
    }
  }
  read_settings(json, file.string(), config.settings);
  bool samples = true;
  if (fields.read("do_sample", samples) && !samples) config.settings.temperature = 0;
  if (const Json* ours = fields.find(our_key)) {
    read_settings(*ours, cat(file.string(), ": ", our_key), config.settings);
  }
  return config;
}

void write_generation_config(const fs::path& folder, const ModelConfig& config, const GenerationSettings& generation) {
  Json json = Json::object();
  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_id >= 0) json["eos_token_id"] = one_or_list(config.eos_token_ids());
  if (config.pad_token_id >= 0) json["pad_token_id"] = config.pad_token_id;
  write_settings(json, generation);
  write_json(folder / file_name, json);
}

}  // namespace xinslm
