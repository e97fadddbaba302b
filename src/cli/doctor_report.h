#pragma once
#include <string>
#include <vector>

#include "xinslm/core/fallbacks.h"
#include "xinslm/core/json.h"
#include "xinslm/eval/doctor.h"

namespace xinslm::cli {

/// What was found on one device.
struct DeviceReport {
  at::Device device;
  std::vector<Check> operators = {}, model = {};
  std::vector<SpeedFigure> speed = {};
  std::vector<Fallback> fallbacks = {};  ///< during the checks

  bool passed() const;
};

/// The machine and the program: what every bug report begins with. Values for people, one key a line.
Json machine_json();
std::string machine_table(const Json& machine);

Json device_json(const DeviceReport& report);
std::string device_tables(const DeviceReport& report);

}  // namespace xinslm::cli
