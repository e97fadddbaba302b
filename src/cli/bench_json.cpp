#include "xinslm/cli/bench_json.h"

namespace xinslm::cli {
namespace {

Json speed_at_depth_json(const SpeedOptions& options, const SpeedResult& result) {
  const auto one = [](int64_t tokens, const Estimate& speed) {
    return Json{{"tokens", tokens},
                {"tokens_per_second", speed.value},
                {"deviation", speed.deviation},
                {"repetitions", speed.count}};
  };
  Json json = {{"depth", result.depth}, {"kv_type", kv_type_name(result.kv_type)}};
  if (result.prompt.count > 0) json["prompt"] = one(options.prompt_tokens, result.prompt);
  if (result.generate.count > 0) {
    json["generate"] = one(options.generate_tokens, result.generate);
    json["generate"]["bytes_per_token"] = result.bytes_per_token;
  }
  if (result.read_bandwidth > 0) {
    json["read_bandwidth"] = result.read_bandwidth;
    json["bus_share"] = result.bus_share();
  }
  return json;
}

}  // namespace

Json task_json(const TaskResult& result) {
  Json json = {{"task", result.task}, {"protocol", result.protocol}};
  for (const Metric& metric : result.metrics) {
    json[metric.name] = metric.value;
    if (metric.standard_error >= 0) json[metric.name + "_stderr"] = metric.standard_error;
  }
  json.update({{"items", result.items},
               {"seconds", result.seconds},
               {"data", result.file.string()},
               {"sha256", result.file_sha256}});
  return json;
}

Json perplexity_json(const PerplexityResult& result) {
  Json json = {{"nll_sum", result.nll_sum},
               {"tokens", result.tokens},
               {"words", result.words},
               {"bytes", result.bytes},
               {"perplexity", result.perplexity()},
               {"word_perplexity", result.word_perplexity()},
               {"bits_per_byte", result.bits_per_byte()},
               {"context", result.context},
               {"stride", result.stride},
               {"seconds", result.seconds}};
  if (!result.file.empty()) json.update({{"data", result.file.string()}, {"sha256", result.file_sha256}});
  return json;
}

Json divergence_json(const DivergenceResult& result) {
  Json json = {{"mean", result.mean},
               {"largest", result.largest},
               {"agreement", result.agreement},
               {"tokens", result.tokens},
               {"context", result.context}};
  if (result.kv_type) json["kv_type"] = kv_type_name(*result.kv_type);
  return json;
}

Json speed_json(const SpeedOptions& options, const std::vector<SpeedResult>& results) {
  if (results.size() == 1) return speed_at_depth_json(options, results.front());
  Json depths = Json::array();
  for (const SpeedResult& result : results) depths.push_back(speed_at_depth_json(options, result));
  return {{"depths", depths}};
}

}  // namespace xinslm::cli
