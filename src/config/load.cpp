#include <algorithm>
#include <iterator>

#include "config/assignments.h"
#include "config/fields.h"
#include "config/nearest.h"
#include "config/presets.h"
#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace xinslm {
namespace {

constexpr const char* variants_key = "model_variants";

/// Collects what preset, file, variant and command line assign, later after earlier, and then sets it all in that
/// order.
class Resolver {
 public:
  explicit Resolver(const std::string& source) : known_(collect_fields(settings_, &choice_)) {
    settings_.source = source;
  }

  Settings resolve(const std::string& yaml, const SettingsOverrides& overrides) {
    YAML::Node root = parse_yaml(yaml, settings_.source);
    const YAML::Node variants = take_variants(root);
    const std::vector<Assignment> file = read_assignments(known_, root, "", settings_.source);
    std::vector<Assignment> command_line;
    for (const std::string& text : overrides.assignments) command_line.push_back(read_override(known_, text));

    const Assignment* preset = find_last(file, "model.preset");
    const auto [variant, variant_place] = wanted_variant(overrides, find_last(command_line, "model.preset"));
    if (variant.empty() && preset != nullptr) apply(preset_model(*preset));
    if (!variant.empty() && !is_file_variant(variants, variant)) check_variant(variants, variant, variant_place);
    apply(file);
    if (!variant.empty()) apply(variant_model(variants, variant, variant_place));
    apply(command_line);
    apply_effort(overrides);
    return std::move(settings_);
  }

 private:
  /// Removes the file's own models from it and checks that it is a mapping of mappings.
  YAML::Node take_variants(YAML::Node& root) {
    YAML::Node rest(YAML::NodeType::Map), variants(YAML::NodeType::Map);
    for (const auto& entry : root) {
      const bool taken = entry.first.IsScalar() && entry.first.Scalar() == variants_key;
      if (taken && variants.size() > 0) {
        usage_error(place_of(entry.first, settings_.source), ": ", variants_key, " is set a second time");
      }
      if (taken) variants = entry.second;
      if (!taken) rest.force_insert(entry.first, entry.second);
    }
    root = rest;
    if (!variants.IsMap()) {
      usage_error(place_of(variants, settings_.source), ": ", variants_key,
                  " expects names with model keys below them");
    }
    for (const auto& entry : variants) {
      const std::string place = place_of(entry.first, settings_.source);
      if (!entry.first.IsScalar()) usage_error(place, ": a name in ", variants_key, " is not a word");
      if (!entry.second.IsMap()) {
        usage_error(place, ": ", variants_key, ".", entry.first.Scalar(), " expects model keys below it");
      }
      read_assignments(known_, entry.second, "model", settings_.source);  // so that a mistake shows in every variant
    }
    return variants;
  }

  static bool is_file_variant(const YAML::Node& variants, const std::string& name) {
    return variants[name].IsDefined();
  }

  void check_variant(const YAML::Node& variants, const std::string& name, const std::string& place) const {
    std::vector<std::string> names = preset_names();
    if (std::find(names.begin(), names.end(), name) != names.end()) return;
    for (const auto& entry : variants) names.push_back(entry.first.Scalar());
    usage_error(prefix_of(place), "no model variant \"", name, "\"", suggestion(name, names), "; there are ",
                enumerate(names, " and "));
  }

  /// The variant that replaces the file's preset, and where it was asked for.
  static std::pair<std::string, std::string> wanted_variant(const SettingsOverrides& overrides,
                                                            const Assignment* assigned) {
    if (assigned == nullptr) return {overrides.model_variant, "--model-variant"};
    const std::string name = assigned->value.Scalar();
    if (!overrides.model_variant.empty() && overrides.model_variant != name) {
      usage_error("--model-variant ", overrides.model_variant, " and ", assigned->place, " ask for different models");
    }
    return {name, assigned->place};
  }

  std::vector<Assignment> preset_model(const Assignment& assigned) const {
    if (!assigned.value.IsScalar()) usage_error(assigned.place, ": model.preset expects the name of a preset");
    return preset_model(find_preset(assigned.value.Scalar(), assigned.place));
  }

  std::vector<Assignment> preset_model(const Preset& preset) const {
    const std::string source = "preset " + preset.name;
    return read_assignments(known_, parse_yaml(preset.model, source), "model", source);
  }

  std::vector<Assignment> variant_model(const YAML::Node& variants, const std::string& name,
                                        const std::string& place) const {
    if (!is_file_variant(variants, name)) return preset_model(find_preset(name, place));
    std::vector<Assignment> own = read_assignments(known_, variants[name], "model", settings_.source), all;
    if (const Assignment* preset = find_last(own, "model.preset")) all = preset_model(*preset);
    std::move(own.begin(), own.end(), std::back_inserter(all));
    return all;
  }

  void apply(const std::vector<Assignment>& assignments) {
    for (const Assignment& assignment : assignments) {
      set_value(*assignment.field, assignment.value, assignment.place);
      settings_.origins[assignment.field->key] = assignment.place;
    }
  }

  /// Turns the effort into a number of experts. One expert a token needs the softmax before the choice: over the one
  /// chosen it is constant, and the router would learn nothing.
  void apply_effort(const SettingsOverrides& overrides) {
    const std::string place =
        overrides.reasoning_effort.empty() ? settings_.origins["model.reasoning_effort"] : "--reasoning-effort";
    if (!overrides.reasoning_effort.empty()) choice_.reasoning_effort = overrides.reasoning_effort;
    settings_.origins.erase("model.reasoning_effort");
    settings_.origins.erase("model.preset");
    if (choice_.reasoning_effort.empty()) return;
    ModelConfig& model = settings_.model;
    const int64_t experts = model.experts_at(choice_.reasoning_effort);
    if (experts == model.num_experts_per_tok) return;
    model.num_experts_per_tok = experts;
    settings_.origins["model.num_experts_per_tok"] = place;
    if (experts == 1 && !settings_.origins.contains("model.router_softmax")) model.router_softmax = "before";
  }

  Settings settings_;
  ModelChoice choice_;
  FieldCollector known_;  // points into the two above
};

}  // namespace

Settings default_settings() {
  return {};
}

Settings parse_settings(const std::string& yaml, const std::string& source, const SettingsOverrides& overrides,
                        Purpose purpose) {
  Settings settings = Resolver(source).resolve(yaml, overrides);
  validate(settings, purpose);
  return settings;
}

Settings load_settings(const std::filesystem::path& path, const SettingsOverrides& overrides, Purpose purpose) {
  return parse_settings(read_file(path), path.string(), overrides, purpose);
}

ModelConfig preset_model(const std::string& name) {
  return parse_settings("", "preset " + name, {.model_variant = name}, Purpose::model).model;
}

}  // namespace xinslm
