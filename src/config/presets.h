#pragma once
#include <string>
#include <vector>

namespace xinslm {

/// A model worth a name: the keys of the model section it sets, as YAML. What it leaves out keeps its default.
struct Preset {
  std::string name;
  std::string model;
};

const std::vector<Preset>& presets();

/// @param place  begins the error
/// @throws Error(usage) naming the nearest preset and all of them
const Preset& find_preset(const std::string& name, const std::string& place);

}  // namespace xinslm
