#include <algorithm>
#include <sstream>

#include "config/fields.h"
#include "xinslm/config/settings.h"

namespace xinslm {
namespace {

int depth_of(const std::string& key) {
  return static_cast<int>(std::count(key.begin(), key.end(), '.'));
}

std::string indent_of(const std::string& key) {
  return std::string(2 * depth_of(key), ' ');
}

/// The line or lines that open a section: "model:" or, inside it, "  rope:".
std::string section_lines(const Section& section, bool comments) {
  const std::string indent = indent_of(section.key);
  return (comments ? indent + "# " + section.help + "\n" : "") + indent + name_of(section.key) + ":\n";
}

}  // namespace

std::string dump_settings(const Settings& settings, bool comments) {
  Settings copy = settings;
  const FieldCollector known = collect_fields(copy);
  std::ostringstream out;
  out.exceptions(std::ios::badbit);  // else memory that runs out leaves a part of the settings
  std::string current;
  for (const Field& field : known.fields) {
    const std::string section_key = section_of(field.key);
    // Fields that follow a section inside their own are back in a section that is open already.
    if (section_key != current && !current.starts_with(section_key + ".")) {
      if (comments && !current.empty() && depth_of(section_key) == 0) out << "\n";
      for (const Section& section : known.sections) {
        if (section.key == section_key) out << section_lines(section, comments);
      }
    }
    current = section_key;
    const std::string indent = indent_of(field.key);
    if (comments) out << indent << "# " << field.help << " [" << expected_text(field) << "]\n";
    out << indent << name_of(field.key) << ": " << value_text(field) << "\n";
  }
  return out.str();
}

}  // namespace xinslm
