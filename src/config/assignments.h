#pragma once
#include <yaml-cpp/yaml.h>

#include <string>
#include <vector>

#include "config/fields.h"

namespace xinslm {

/// One value given for one field, and where.
struct Assignment {
  const Field* field;
  YAML::Node value;
  std::string place;  ///< "mine.yaml:14" or "--set training.seed=x"
};

/// One YAML document. An empty one is an empty mapping. @throws Error(usage) with file and line
YAML::Node parse_yaml(const std::string& text, const std::string& source);

/// "mine.yaml:14"
std::string place_of(const YAML::Node& node, const std::string& source);

/// What a mapping assigns, in its order, older names resolved.
///
/// @param section  key of the section the mapping stands for, "" for a whole file
/// @throws Error(usage) for keys that are unknown, set twice, or sections without keys
std::vector<Assignment> read_assignments(const FieldCollector& known, const YAML::Node& mapping,
                                         const std::string& section, const std::string& source);

/// What one "section.key=value" of the command line assigns. Texts are taken as they stand; lists are one text or
/// [a, b]. @throws Error(usage)
Assignment read_override(const FieldCollector& known, const std::string& text);

/// The last assignment to a key, or nullptr.
const Assignment* find_last(const std::vector<Assignment>& assignments, const std::string& key);

}  // namespace xinslm
