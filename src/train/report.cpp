#include "xinslm/train/report.h"

#include <cmath>

#include "train/svg_chart.h"
#include "train/svg_heat_map.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace xinslm {
namespace {

constexpr const char* style = R"(
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --faint: #d0d7de; --muted: #57606a;
        --a: #0969da; --b: #8ab4e8; --c: #cf222e; --d: #8250df; --heat: 9, 105, 218; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d; --muted: #9198a1;
          --a: #58a6ff; --b: #2f5f9a; --c: #ff7b72; --d: #bc8cff; --heat: 88, 166, 255; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; display: block; margin: .5rem 0 1.5rem; }
svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--muted); } svg .grid { stroke: var(--faint); }
svg .a { stroke: var(--a); fill: none; stroke-width: 2; } svg .b { stroke: var(--b); fill: none; }
svg .c { stroke: var(--c); fill: none; stroke-width: 2; }
svg .d { stroke: var(--d); fill: none; stroke-dasharray: 6 4; }
svg rect.heat { fill: rgb(var(--heat)); }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
th { color: var(--muted); font-weight: normal; }
pre { overflow-x: auto; background: color-mix(in srgb, var(--faint) 30%, var(--paper));
      padding: 1rem; font-size: 13px; }
)";

std::string loss_chart(const MetricsHistory& history) {
  Chart chart{.x_label = "steps", .y_label = "loss, nats per token"};
  Series training{.name = "training", .style = "b"}, smoothed{.name = "training, smoothed", .style = "a"};
  Series validation{.name = "validation", .style = "c", .dots = true};
  for (const TrainRecord& record : history.train) {
    training.points.emplace_back(record.step, record.loss);
    smoothed.points.emplace_back(record.step, record.smoothed_loss);
  }
  for (const ValidationRecord& record : history.validation) validation.points.emplace_back(record.step, record.loss);
  chart.series = {training, smoothed, validation};
  return chart_svg(chart);
}

std::string bits_chart(const MetricsHistory& history, double entropy) {
  Chart chart{.x_label = "steps", .y_label = "bits per byte"};
  Series training{.name = "training", .style = "b"}, validation{.name = "validation", .style = "c", .dots = true};
  for (const TrainRecord& record : history.train) training.points.emplace_back(record.step, record.bits_per_byte);
  for (const ValidationRecord& record : history.validation) {
    validation.points.emplace_back(record.step, record.bits_per_byte);
  }
  chart.series = {training, validation};
  if (!std::isnan(entropy) && !history.train.empty()) {
    chart.series.push_back({.name = "entropy of the text: no model can do better",
                            .style = "d",
                            .points = {{0, entropy}, {history.train.back().step, entropy}}});
  }
  return chart_svg(chart);
}

std::string train_chart(const MetricsHistory& history, const std::string& label, double TrainRecord::*value) {
  Chart chart{.x_label = "steps", .y_label = label};
  Series series{.name = label, .style = "a"};
  for (const TrainRecord& record : history.train) series.points.emplace_back(record.step, record.*value);
  chart.series = {series};
  return chart_svg(chart);
}

std::string expert_section(const MetricsHistory& history) {
  if (history.train.empty() || history.train.back().experts.empty()) return "";
  std::string html =
      "<h2>Expert load</h2>\n<p>A row for each expert, time from left to right; a cell is as strong as the "
      "expert's share of the layer's tokens. Evenly coloured means balanced.</p>\n";
  for (size_t layer = 0; layer < history.train.back().experts.size(); ++layer) {
    HeatMap map{.x_label = "steps", .y_label = "expert"};
    for (const TrainRecord& record : history.train) {
      if (layer < record.experts.size()) map.columns.push_back({double(record.step), record.experts[layer].load});
    }
    const LayerHealth& health = history.train.back().experts[layer];
    html += cat("<h3>MoE layer ", layer + 1, "</h3>\n<p>At the end: variation ", rounded(health.variation),
                ", router entropy ", rounded(health.router_entropy), " nats, ", health.unused,
                " experts unused in the last 1,000 steps", health.collapsed ? ", collapsed" : "", ".</p>\n");
    html += heat_map_svg(map);
  }
  return html;
}

std::string summary_table(const MetricsHistory& history, double entropy) {
  if (history.train.empty()) return "";
  const TrainRecord& last = history.train.back();
  std::string rows;
  const auto row = [&](const std::string& name, const std::string& value) {
    rows += "<tr><th>" + name + "</th><td>" + value + "</td></tr>\n";
  };
  row("steps", cat(last.step));
  row("tokens", cat(last.tokens, ", ", rounded(last.epoch), " epochs"));
  row("training loss, smoothed", rounded(last.smoothed_loss) + " nats per token");
  for (auto it = history.validation.rbegin(); it != history.validation.rend() && it->step == last.step; ++it) {
    row(it->averaged ? "validation, averaged weights" : "validation",
        cat(rounded(it->loss), " nats per token, ", rounded(it->bits_per_byte), " bits per byte, perplexity ",
            rounded(it->perplexity)));
  }
  if (!std::isnan(entropy)) row("entropy of the text", rounded(entropy) + " bits per byte");
  row("steps skipped", cat(last.bad_steps));
  return "<table>\n" + rows + "</table>\n";
}

}  // namespace

std::string report_html(const MetricsHistory& history, const std::string& title, double entropy,
                        const std::string& settings) {
  std::string html =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
      escape_xml(title) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<h1>" + escape_xml(title) +
      "</h1>\n";
  html += summary_table(history, entropy);
  html += "<h2>Loss</h2>\n" + loss_chart(history) + bits_chart(history, entropy);
  html += "<h2>Learning rate</h2>\n" + train_chart(history, "learning rate", &TrainRecord::learning_rate);
  html += "<h2>Speed</h2>\n" + train_chart(history, "tokens per second", &TrainRecord::tokens_per_second);
  html += "<h2>Gradient norm</h2>\n" + train_chart(history, "gradient norm", &TrainRecord::gradient_norm);
  html += expert_section(history);
  html += "<h2>Settings</h2>\n<pre>" + escape_xml(settings) + "</pre>\n</body>\n</html>\n";
  return html;
}

void write_report(const RunFolder& run, const Settings& settings, double entropy) {
  const std::string title = "Training of " + run.root.filename().string();
  write_file(run.report(), report_html(read_metrics(run.metrics()), title, entropy, dump_settings(settings)));
}

}  // namespace xinslm
