#include "config/assignments.h"

#include <algorithm>
#include <map>

#include "config/nearest.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

const Field* find_field(const FieldCollector& known, const std::string& key) {
  for (const Field& field : known.fields) {
    if (field.key == key || (!field.older.empty() && field.older == key)) return &field;
  }
  return nullptr;
}

const Section* find_section(const FieldCollector& known, const std::string& key) {
  for (const Section& section : known.sections) {
    if (section.key == key || (!section.older.empty() && section.older == key)) return &section;
  }
  return nullptr;
}

/// The key with an older section name at its front replaced: mac_optimizations.device is device.device.
std::string resolve_sections(const FieldCollector& known, const std::string& key) {
  std::string resolved;
  for (size_t start = 0; start <= key.size();) {
    const size_t dot = std::min(key.find('.', start), key.size());
    if (start > 0) resolved += '.';
    resolved += key.substr(start, dot - start);
    if (const Section* section = find_section(known, resolved)) resolved = section->key;
    start = dot + 1;
  }
  return resolved;
}

/// What to say about a key nobody knows: its namesake in another section, a near key, or what the section has.
std::string unknown_key_hint(const FieldCollector& known, const std::string& key) {
  const std::string section = section_of(key);
  std::vector<std::string> keys, siblings;
  const auto consider = [&](const std::string& candidate) {
    keys.push_back(candidate);
    if (section_of(candidate) == section) siblings.push_back(name_of(candidate));
  };
  for (const Section& each : known.sections) consider(each.key);
  for (const Field& field : known.fields) consider(field.key);
  for (const std::string& candidate : keys) {
    if (name_of(candidate) == name_of(key)) return " (did you mean " + candidate + "?)";
  }
  const std::string near_sibling = nearest(name_of(key), siblings);
  if (!near_sibling.empty()) return cat(" (did you mean ", section, section.empty() ? "" : ".", near_sibling, "?)");
  if (const std::string hint = suggestion(key, keys); !hint.empty()) return hint;
  if (siblings.empty()) return "; `xinslm config keys` lists all keys";
  return cat("; known ", section.empty() ? "at the top" : "in " + section, ": ", enumerate(siblings, " and "));
}

[[noreturn]] void reject_unknown(const FieldCollector& known, const std::string& key, const std::string& place) {
  usage_error(prefix_of(place), "unknown key ", key, unknown_key_hint(known, key));
}

/// Walks a mapping and, for keys that are sections, the mappings in it.
class MappingReader {
 public:
  MappingReader(const FieldCollector& known, const std::string& source) : known_(known), source_(source) {}

  void read(const YAML::Node& mapping, const std::string& section) {
    for (const auto& entry : mapping) {
      if (!entry.first.IsScalar()) {
        usage_error(place_of(entry.first, source_), ": a key in ", section.empty() ? "the file" : section,
                    " is not a word");
      }
      const std::string name = entry.first.Scalar();
      read_entry(section.empty() ? name : section + "." + name, entry.second, place_of(entry.first, source_));
    }
  }

  std::vector<Assignment> assignments;

 private:
  void read_entry(const std::string& key, const YAML::Node& value, const std::string& place) {
    if (const Section* section = find_section(known_, key)) {
      if (value.IsNull()) return;  // a section whose keys are all commented out
      if (!value.IsMap()) usage_error(place, ": ", key, " is a section, expected keys with values below it");
      return read(value, section->key);
    }
    const Field* field = find_field(known_, key);
    if (field == nullptr) reject_unknown(known_, key, place);
    const auto [first, fresh] = first_places_.emplace(field->key, place);
    if (!fresh) usage_error(place, ": ", field->key, " is set a second time; the first is at ", first->second);
    assignments.push_back({field, value, place});
  }

  const FieldCollector& known_;
  const std::string& source_;
  std::map<std::string, std::string> first_places_;
};

}  // namespace

YAML::Node parse_yaml(const std::string& text, const std::string& source) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) usage_error(source, ": holds ", documents.size(), " YAML documents, expected one");
    if (documents.empty() || documents[0].IsNull()) return YAML::Node(YAML::NodeType::Map);
    if (!documents[0].IsMap()) usage_error(source, ":1: expected sections like \"model:\" with keys below them");
    return documents[0];
  } catch (const YAML::Exception& error) {
    usage_error(source, ":", error.mark.line + 1, ": not valid YAML: ", error.msg);
  }
}

std::string place_of(const YAML::Node& node, const std::string& source) {
  return cat(source, ":", node.Mark().line + 1);
}

std::vector<Assignment> read_assignments(const FieldCollector& known, const YAML::Node& mapping,
                                         const std::string& section, const std::string& source) {
  MappingReader reader(known, source);
  reader.read(mapping, section);
  return std::move(reader.assignments);
}

Assignment read_override(const FieldCollector& known, const std::string& text) {
  const std::string place = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) usage_error(place, ": expected section.key=value");
  const std::string key = resolve_sections(known, text.substr(0, equals)), value = text.substr(equals + 1);
  const Field* field = find_field(known, key);
  if (field == nullptr && find_section(known, key) != nullptr) {
    usage_error(place, ": ", key, " is a section; set one of its keys, as in ", key, ".key=value");
  }
  if (field == nullptr) reject_unknown(known, key, place);
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(field->value);
  const bool is_yaml = !value.empty() && (value[0] == '"' || value[0] == '\'' || (is_list && value[0] == '['));
  if (!is_yaml) return {field, is_list && value.empty() ? YAML::Node() : YAML::Node(value), place};
  try {
    return {field, YAML::Load(value), place};
  } catch (const YAML::Exception& error) {
    usage_error(place, ": not valid YAML: ", error.msg);
  }
}

const Assignment* find_last(const std::vector<Assignment>& assignments, const std::string& key) {
  const Assignment* found = nullptr;
  for (const Assignment& assignment : assignments) {
    if (assignment.field->key == key) found = &assignment;
  }
  return found;
}

}  // namespace xinslm
