#include "xinslm/train/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"

namespace xinslm {
namespace {

Json to_json(const TrainRecord& record) {
  Json json = {{"kind", "train"},
               {"step", record.step},
               {"tokens", record.tokens},
               {"epoch", record.epoch},
               {"seconds", record.seconds},
               {"loss", record.loss},
               {"smoothed_loss", record.smoothed_loss},
               {"bits_per_byte", record.bits_per_byte},
               {"balance_loss", record.balance_loss},
               {"z_loss", record.z_loss},
               {"learning_rate", record.learning_rate},
               {"gradient_norm", record.gradient_norm},
               {"tokens_per_second", record.tokens_per_second},
               {"peak_share", record.peak_share},
               {"memory", record.memory},
               {"device_memory", record.device_memory},
               {"seconds_left", record.seconds_left},
               {"bad_steps", record.bad_steps}};
  Json experts = Json::array();
  for (const LayerHealth& layer : record.experts) {
    experts.push_back({{"load", layer.load},
                       {"variation", layer.variation},
                       {"router_entropy", layer.router_entropy},
                       {"effective_experts", layer.effective_experts},
                       {"unused", layer.unused},
                       {"collapsed", layer.collapsed}});
  }
  json["experts"] = std::move(experts);
  return json;
}

Json to_json(const ValidationRecord& record) {
  return {{"kind", "validation"},
          {"step", record.step},
          {"seconds", record.seconds},
          {"loss", record.loss},
          {"bits_per_byte", record.bits_per_byte},
          {"perplexity", record.perplexity},
          {"averaged", record.averaged}};
}

/// JSON has no NaN: it is written as null.
double number(const Json& json, const char* key) {
  const Json& value = json.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

TrainRecord train_record(const Json& json) {
  TrainRecord record;
  record.step = json.at("step");
  record.tokens = json.at("tokens");
  record.epoch = number(json, "epoch");
  record.seconds = number(json, "seconds");
  record.loss = number(json, "loss");
  record.smoothed_loss = number(json, "smoothed_loss");
  record.bits_per_byte = number(json, "bits_per_byte");
  record.balance_loss = number(json, "balance_loss");
  record.z_loss = number(json, "z_loss");
  record.learning_rate = number(json, "learning_rate");
  record.gradient_norm = number(json, "gradient_norm");
  record.tokens_per_second = number(json, "tokens_per_second");
  record.peak_share = number(json, "peak_share");
  record.memory = json.at("memory");
  record.device_memory = json.value("device_memory", int64_t{0});  // runs of older versions have none
  record.seconds_left = number(json, "seconds_left");
  record.bad_steps = json.at("bad_steps");
  for (const Json& layer : json.at("experts")) {
    LayerHealth health;
    health.load = layer.at("load").get<std::vector<double>>();
    health.variation = number(layer, "variation");
    health.router_entropy = number(layer, "router_entropy");
    health.effective_experts = number(layer, "effective_experts");
    health.unused = layer.at("unused");
    health.collapsed = layer.at("collapsed");
    record.experts.push_back(std::move(health));
  }
  return record;
}

ValidationRecord validation_record(const Json& json) {
  ValidationRecord record;
  record.step = json.at("step");
  record.seconds = number(json, "seconds");
  record.loss = number(json, "loss");
  record.bits_per_byte = number(json, "bits_per_byte");
  record.perplexity = number(json, "perplexity");
  record.averaged = json.at("averaged");
  return record;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    lines.push_back(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.size(), lines.back().size() + 1));
  }
  return lines;
}

/// The lines of the file that belong to steps up to `last`. A line cut off by a crash can only be the last one.
std::string lines_up_to(const std::filesystem::path& path, int64_t last, bool finishing) {
  const std::string text = read_file(path);
  std::string kept;
  for (const std::string_view line : lines_of(text)) {
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.is_object() || json.value("step", last + 1) > last) break;
    if (finishing && json["step"] == last && json.value("kind", "") == "validation") continue;
    kept.append(line) += "\n";
  }
  return kept;
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& path, int64_t resumed_step, bool finishing) {
  const bool resumed = resumed_step > 0 && path_exists(path);
  write_file(path, resumed ? lines_up_to(path, resumed_step, finishing) : "");
  file_.emplace(path);
}

void MetricsFile::write(const TrainRecord& record) {
  write_line(dump_json(to_json(record)));
}
void MetricsFile::write(const ValidationRecord& record) {
  write_line(dump_json(to_json(record)));
}

void MetricsFile::write_line(const std::string& line) {
  file_->write(line + "\n");
}

MetricsHistory read_metrics(const std::filesystem::path& path) {
  MetricsHistory history;
  const std::string text = read_file(path);
  int64_t number = 0;
  for (const std::string_view line : lines_of(text)) {
    const std::string where = cat(path.string(), ":", ++number);
    const Json json = parse_json(line, where);
    try {
      if (json.at("kind") == "train") {
        history.train.push_back(train_record(json));
      } else {
        history.validation.push_back(validation_record(json));
      }
    } catch (const Json::exception& problem) {
      data_error(where, ": is not a line of metrics: ", problem.what());
    }
  }
  return history;
}

}  // namespace xinslm
