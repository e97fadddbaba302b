#include <ATen/Context.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "cli/doctor_report.h"
#include "xinslm/cli/command.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/device.h"
#include "xinslm/core/machine.h"
#include "xinslm/core/progress.h"

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm doctor                # what to paste into a bug report\n"
    "  xinslm doctor --device mps   # Apple's GPU alone\n"
    "  xinslm doctor --json > doctor.json\n"
    "Differences are shares of the largest value. Exit code 1: something differs or could not be computed.\n"
    "XINSLM_ISA=NAME chooses the processor's kernels for all commands.";

struct Flags {
  std::string device = "auto";
  int64_t threads = 0;
  bool json = false;
};

/// The processor, and the GPU where there is one; or the one asked for.
std::vector<at::Device> devices_of(const std::string& name) {
  const at::Device chosen = choose_device(name);
  if (name != "auto" || chosen.is_cpu()) return {chosen};
  return {at::kCPU, chosen};
}

DeviceReport examine(at::Device device) {
  ProgressLine line;
  const auto showing = [&](const char* what) {
    return [&line, what, device](double share) {
      line.update(share, [&] { return std::string(what) + " on " + device.str(); });
    };
  };
  clear_fallbacks();
  DeviceReport report{.device = device};
  report.operators = check_operators(device, showing("operators"));
  report.model = check_model(device, showing("a small model"));
  report.speed = measure_kernels(device, showing("speed"));
  report.fallbacks = fallbacks();
  return report;
}

void doctor(const Flags& flags) {
  configure_threads(static_cast<int>(flags.threads));
  const std::vector<at::Device> devices = devices_of(flags.device);
  Json json = machine_json();
  if (!flags.json) std::cout << machine_table(json) << std::endl;
  bool passed = true;
  json["devices"] = Json::array();
  for (const at::Device device : devices) {
    const DeviceReport report = examine(device);
    passed = passed && report.passed();
    json["devices"].push_back(device_json(report));
    if (!flags.json) std::cout << device_tables(report) << std::endl;
  }
  json["peak_memory"] = peak_memory();
  json["passed"] = passed;
  if (flags.json) {
    std::cout << dump_json(json, 2) << std::endl;
  } else {
    std::cout << faint(peak_memory_text()) << '\n'
              << bold(passed ? "everything agrees" : "something DIFFERS: see above") << std::endl;
  }
  if (!passed) throw CLI::RuntimeError(1);
}

}  // namespace

void add_doctor(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand(
      "doctor", "examine machine and program: compute with every operator, compare, measure");
  command->add_option("--device", flags->device, "cpu, mps, or auto: the processor and the GPU where there is one")
      ->type_name("NAME")
      ->capture_default_str();
  add_number(*command, "--threads", flags->threads, between(0, 1024), "processor threads; 0 = one per core");
  command->add_flag("--json", flags->json, "print JSON");
  command->footer(examples);
  command->callback([flags] { doctor(*flags); });
}

}  // namespace xinslm::cli
