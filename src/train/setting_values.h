#pragma once
#include <map>
#include <string>

#include "xinslm/config/settings.h"

namespace xinslm {

/// Key ("model.hidden_size") -> value as text, of all sections.
std::map<std::string, std::string> setting_values(Settings settings);

}  // namespace xinslm
