#pragma once
#include <string>

#include "xinslm/config/settings.h"

namespace xinslm {

/// Compares what a run began with and what it is asked to go on with. Limits, learning rates, losses and everything
/// about validation, saving and logging may change; the model, the text and what a batch is may not.
/// @param run  its folder, for the message
/// @throws Error(usage) naming every setting that would have to stay
void check_resumed_settings(const Settings& before, const Settings& now, const std::string& run);

}  // namespace xinslm
