#include "cli/bench_report.h"

#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/progress.h"

namespace xinslm::cli {
namespace {

std::string shown(const Metric& metric, double value) {
  return metric.percent ? fixed(100 * value, 2) + " %" : fixed(value, 4);
}

/// "low, 1 expert"; nothing to tell apart needs no name.
std::string label(const Effort& effort) {
  if (effort.experts == 0) return effort.name;
  return cat(effort.name, ", ", effort.experts, effort.experts == 1 ? " expert" : " experts");
}

std::string source(const std::filesystem::path& file, const std::string& sha256) {
  return file.empty() ? "the text that the model's run held out" : cat(file.string(), ", sha256 ", sha256);
}

}  // namespace

std::string task_table(const TaskResult& result) {
  Table table({result.task, "value", "standard error"});
  for (const Metric& metric : result.metrics) {
    const bool has_error = metric.standard_error >= 0;
    table.add({metric.name, shown(metric, metric.value), has_error ? "± " + shown(metric, metric.standard_error) : ""});
  }
  return table.text() + faint(cat(grouped(result.items), " items in ", duration_text(result.seconds), "; ",
                                  result.protocol, "\n", source(result.file, result.file_sha256), "\n"));
}

std::string perplexity_table(const ByEffort<PerplexityResult>& results) {
  Table table({"effort", "per token", "per word", "bits per byte", "loss, nats", "tokens/s"});
  for (const auto& [effort, result] : results) {
    const auto tokens = static_cast<double>(result.tokens);
    table.add({label(effort), fixed(result.perplexity(), 3), fixed(result.word_perplexity(), 3),
               fixed(result.bits_per_byte(), 4), fixed(result.nll_sum / tokens, 4),
               grouped(static_cast<int64_t>(tokens / result.seconds))});
  }
  const PerplexityResult& one = main_result(results);
  return table.text() + faint(cat(grouped(one.tokens), " tokens, ", grouped(one.words), " words, ", grouped(one.bytes),
                                  " bytes in windows of ", one.context, " tokens, ", one.stride, " new ones each\n",
                                  source(one.file, one.file_sha256), "\n"));
}

std::string divergence_table(const DivergenceResult& result) {
  Table table({"mean KL divergence", "largest", "same best token"});
  table.add({cat(result.mean), cat(result.largest), fixed(100 * result.agreement, 2) + " %"});
  const std::string kept = result.kv_type ? ", one by one, keys and values in " + kv_type_name(*result.kv_type) : "";
  return table.text() + faint(cat(grouped(result.tokens), " tokens in windows of ", result.context, kept,
                                  "; against the same weights in exact arithmetic, nats\n"));
}

std::string speed_table(const SpeedOptions& options, const ByEffort<std::vector<SpeedResult>>& results) {
  const bool compares = options.depths.size() > 1;
  std::vector<std::string> columns = {"effort", "test", "after tokens", "tokens/s", "deviation"};
  if (compares) columns.push_back("difference");
  Table table(columns);
  const auto add = [&](const Effort& effort, const std::string& test, const std::vector<SpeedResult>& at_depths,
                       Estimate SpeedResult::*member) {
    const SpeedResult& first = at_depths.front();
    for (const SpeedResult& result : at_depths) {
      const Estimate& speed = result.*member;
      if (speed.count == 0) continue;
      const double change = speed.value / (first.*member).value - 1;
      std::vector<std::string> row = {label(effort), test, grouped(result.depth), fixed(speed.value, 1),
                                      "± " + fixed(speed.deviation, 1)};
      if (compares) row.push_back(&result == &first ? "" : fixed(100 * change, 1) + " %");
      table.add(row);
    }
  };
  for (const auto& [effort, at_depths] : results) {
    add(effort, cat("prompt ", options.prompt_tokens), at_depths, &SpeedResult::prompt);
    add(effort, cat("generate ", options.generate_tokens), at_depths, &SpeedResult::generate);
  }
  std::string notes = cat("mean of ", options.repetitions, " repetitions", compares ? ", depths in turns" : "");
  const SpeedResult& one = main_result(results).front();
  notes += "; keys and values in " + kv_type_name(one.kv_type);
  if (one.read_bandwidth > 0) {
    notes += cat("; after ", grouped(one.depth), " a token reads ", fixed(one.bytes_per_token / 1e6, 1), " MB: ",
                 fixed(100 * one.bus_share(), 0), " % of the ", fixed(one.read_bandwidth / 1e9, 1),
                 " GB/s that the memory gives");
  }
  return table.text() + faint(notes + "\n");
}

}  // namespace xinslm::cli
