#include "xinslm/config/generation_settings.h"

#include "config/fields.h"

namespace xinslm {
namespace {

const Field& field_of(const FieldCollector& known, const std::string& key) {
  for (const Field& field : known.fields) {
    if (name_of(field.key) == key) return field;
  }
  throw std::logic_error("no generation setting " + key);
}

}  // namespace

void validate(const GenerationSettings& settings, const std::string& where) {
  GenerationSettings copy = settings;
  for (Field& field : collect_fields(copy).fields) {
    field.key = name_of(field.key);
    check_value(field, where);
  }
}

void set_generation(GenerationSettings& settings, const std::string& key, const std::string& text,
                    const std::string& name) {
  GenerationSettings changed = settings;
  const FieldCollector known = collect_fields(changed);
  Field field = field_of(known, key);
  field.key = name;
  set_value(field, YAML::Node(text), "");
  settings = changed;
}

std::string generation_text(const GenerationSettings& settings, const std::string& key) {
  GenerationSettings copy = settings;
  const FieldCollector known = collect_fields(copy);
  return value_text(field_of(known, key));
}

}  // namespace xinslm
