#pragma once
#include <string>

#include "xinslm/config/settings.h"
#include "xinslm/train/metrics.h"
#include "xinslm/train/run_folder.h"

namespace xinslm {

/// A run's curves as one HTML page without anything from elsewhere: loss of training and validation, learning rate,
/// speed, and the load of every layer's experts over time. Light or dark as the reader's system asks.
/// @param title               shown above
/// @param entropy             bits a byte no model can beat, drawn as a line; NaN = unknown
/// @param settings            as YAML, shown below
std::string report_html(const MetricsHistory& history, const std::string& title, double entropy,
                        const std::string& settings);

/// Writes report.html from the run's metrics.jsonl.
void write_report(const RunFolder& run, const Settings& settings, double entropy);

}  // namespace xinslm
