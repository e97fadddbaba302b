#pragma once
#include <functional>
#include <string>

#include "xinslm/config/model_config.h"

namespace xinslm {

/// Says where a key was set ("mine.yaml:14"), for the error about it.
using PlaceOf = std::function<std::string(const std::string& key)>;

/// Ranges and combinations of a model. @throws Error(usage)
void validate_model(const ModelConfig& model, const PlaceOf& place_of);

}  // namespace xinslm
