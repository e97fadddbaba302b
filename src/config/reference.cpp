#include <sstream>

#include "config/fields.h"
#include "config/presets.h"
#include "xinslm/config/settings.h"

namespace xinslm {
namespace {

/// Text for a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void write_row(std::ostream& out, const Field& field) {
  out << "| `" << field.key << "` | `" << cell(value_text(field)) << "` | " << cell(expected_text(field)) << " | "
      << cell(field.help);
  if (!field.older.empty()) out << "; also read as `" << field.older << "`";
  out << " |\n";
}

}  // namespace

std::string settings_reference() {
  Settings settings;
  ModelChoice choice;
  const FieldCollector known = collect_fields(settings, &choice);
  std::ostringstream out;
  out << "# Configuration keys\n\nWritten by `xinslm config keys`. Each key is set in a YAML file, as in "
         "`configs/`, or on the command line with `--set section.key=value`.\n";
  for (const Section& section : known.sections) {
    out << "\n## " << section.key << "\n" << section.help;
    if (!section.older.empty()) out << "; also read as `" << section.older << "`";
    out << "\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n";
    for (const Field& field : known.fields) {
      if (section_of(field.key) == section.key) write_row(out, field);
    }
  }
  out << "\n## Presets\nNames for `model.preset` and `--model-variant`, and the model keys they set.\n\n"
         "| preset | model |\n|---|---|\n";
  for (const Preset& preset : presets()) out << "| `" << preset.name << "` | `" << preset.model << "` |\n";
  return out.str();
}

}  // namespace xinslm
