#pragma once
#include <string>

#include "xinslm/train/metrics.h"

namespace xinslm {

/// The loss over the steps as a plot of letters: '.' the training loss, 'o' the validation loss. Empty for fewer than
/// two points.
/// @param width, height  of the plot in characters, labels included
std::string loss_curve_text(const MetricsHistory& history, int width = 72, int height = 14);

}  // namespace xinslm
