#include "cli/doctor_report.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "xinslm/cli/render.h"
#include "xinslm/core/cpu_features.h"
#include "xinslm/core/device.h"
#include "xinslm/core/device_memory.h"
#include "xinslm/core/error.h"
#include "xinslm/core/libtorch.h"
#include "xinslm/core/machine.h"
#include "xinslm/model/estimate.h"

namespace xinslm::cli {
namespace {

/// Two digits, enough for a difference: "3.1e-07".
std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

std::string gpu_text() {
  if (!at::hasMPS()) return "none: Apple's GPU needs macOS on Apple silicon and a LibTorch built with MPS";
  return cat("mps, recommended working set ", memory_text(recommended_memory(at::kMPS)));
}

/// Checks of one subject and type, one for each place.
struct Row {
  std::string subject, type;
  std::vector<const Check*> checks;
};

std::vector<Row> rows_of(const std::vector<Check>& checks) {
  std::vector<Row> rows;
  for (const Check& check : checks) {
    auto same = std::find_if(rows.begin(), rows.end(),
                             [&](const Row& row) { return row.subject == check.subject && row.type == check.type; });
    if (same == rows.end()) same = rows.insert(rows.end(), {check.subject, check.type, {}});
    same->checks.push_back(&check);
  }
  return rows;
}

std::vector<std::string> places_of(const std::vector<Check>& checks) {
  std::vector<std::string> places;
  for (const Check& check : checks) {
    if (std::find(places.begin(), places.end(), check.place) == places.end()) places.push_back(check.place);
  }
  return places;
}

std::string cell(const Row& row, const std::string& place) {
  for (const Check* check : row.checks) {
    if (check->place == place) return check->problem.empty() ? scientific(check->difference) : "failed";
  }
  return "";
}

/// Differences as shares of the largest value, a column for each place, and what went wrong below.
std::string checks_table(const std::string& title, const std::vector<Check>& checks) {
  const std::vector<std::string> places = places_of(checks);
  std::vector<std::string> header{title, "type"};
  header.insert(header.end(), places.begin(), places.end());
  header.insert(header.end(), {"allowed", ""});
  Table table(header);
  std::string wrong;
  for (const Row& row : rows_of(checks)) {
    const bool good = std::all_of(row.checks.begin(), row.checks.end(), [](const Check* c) { return c->passed(); });
    std::vector<std::string> line{row.subject, row.type};
    for (const std::string& place : places) line.push_back(cell(row, place));
    double allowed = 0;
    for (const Check* check : row.checks) allowed = std::max(allowed, check->allowed);
    line.insert(line.end(), {allowed > 0 ? scientific(allowed) : "", good ? "ok" : "DIFFERS"});
    table.add(std::move(line));
    for (const Check* check : row.checks) {
      if (check->passed()) continue;
      wrong +=
          cat("  ", row.subject, ", ", row.type, ", ", check->place, ": ",
              check->problem.empty() ? cat(check->worst, " is off by ", scientific(check->difference)) : check->problem,
              "\n");
    }
  }
  return table.text() + wrong;
}

std::string speed_table(const std::vector<SpeedFigure>& figures) {
  Table table({"speed", "", "of the peak"});
  for (const SpeedFigure& figure : figures) {
    if (!figure.problem.empty()) {
      table.add({figure.what, "failed: " + figure.problem, ""});
      continue;
    }
    table.add({figure.what, fixed(figure.rate / 1e9, 1) + (figure.bytes ? " GB/s" : " GF/s"),
               fixed(100 * figure.share, 0) + " %"});
  }
  return table.text();
}

std::string fallback_text(const std::vector<Fallback>& fallbacks) {
  if (fallbacks.empty()) return "";
  std::string text = "Not computed by kernels of ours or of LibTorch's for this device:\n";
  for (const Fallback& one : fallbacks) {
    text += cat("  ", one.op, ": ", one.calls, one.calls == 1 ? " call" : " calls",
                one.to == FallbackTo::processor ? " on the processor" : " as the reference, on the device", "\n");
  }
  return text;
}

Json check_json(const Check& check) {
  Json json = {{"subject", check.subject}, {"place", check.place},           {"type", check.type},
               {"worst", check.worst},     {"difference", check.difference}, {"allowed", check.allowed},
               {"passed", check.passed()}};
  if (!check.problem.empty()) json["problem"] = check.problem;
  return json;
}

Json figure_json(const SpeedFigure& figure) {
  Json json = {{"what", figure.what},
               {figure.bytes ? "bytes_per_second" : "flops", figure.rate},
               {"share_of_peak", figure.share}};
  if (!figure.problem.empty()) json["problem"] = figure.problem;
  return json;
}

bool all_passed(const std::vector<Check>& checks) {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.passed(); });
}

}  // namespace

bool DeviceReport::passed() const {
  const bool measured =
      std::all_of(speed.begin(), speed.end(), [](const SpeedFigure& figure) { return figure.problem.empty(); });
  return all_passed(operators) && all_passed(model) && measured;
}

Json machine_json() {
  std::string isas;
  for (const Isa isa : supported_isas()) isas += (isas.empty() ? "" : ", ") + isa_name(isa);
  const char* wanted = std::getenv("XINSLM_ISA");
  return {{"xinslm", XINSLM_VERSION},
          {"system", system_name()},
          {"processor", processor_name()},
          {"cores", available_cores()},
          {"threads", at::get_num_threads()},
          {"instruction_sets", isas},
          {"kernels", isa_name(active_isa()) + (wanted != nullptr && *wanted != '\0' ? " (XINSLM_ISA)" : "")},
          {"libtorch", libtorch_version()},
          {"libtorch_path", libtorch_path()},
          {"memory", total_memory()},
          {"gpu", gpu_text()}};
}

std::string machine_table(const Json& machine) {
  std::string text;
  size_t width = 0;
  for (const auto& [key, value] : machine.items()) width = std::max(width, key.size());
  for (const auto& [key, value] : machine.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    const std::string shown = key == "memory" ? memory_text(value.get<int64_t>())
                                              : (value.is_string() ? value.get<std::string>() : value.dump());
    text += name + std::string(width + 2 - name.size(), ' ') + shown + "\n";
  }
  return text;
}

Json device_json(const DeviceReport& report) {
  Json json = {{"device", report.device.str()}, {"passed", report.passed()}};
  for (const auto& [key, checks] : {std::pair{"operators", &report.operators}, {"model", &report.model}}) {
    json[key] = Json::array();
    for (const Check& check : *checks) json[key].push_back(check_json(check));
  }
  json["speed"] = Json::array();
  for (const SpeedFigure& figure : report.speed) json["speed"].push_back(figure_json(figure));
  json["fallbacks"] = Json::array();
  for (const Fallback& one : report.fallbacks) {
    json["fallbacks"].push_back({{"operator", one.op},
                                 {"to", one.to == FallbackTo::processor ? "processor" : "reference"},
                                 {"calls", one.calls}});
  }
  return json;
}

std::string device_tables(const DeviceReport& report) {
  return cat(checks_table(cat("operators on ", report.device.str(), ", against references"), report.operators), "\n",
             checks_table(cat("small model on ", report.device.str(), ", against scalar"), report.model), "\n",
             speed_table(report.speed), fallback_text(report.fallbacks));
}

}  // namespace xinslm::cli
