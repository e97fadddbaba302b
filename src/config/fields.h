#pragma once
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "xinslm/config/settings.h"

namespace xinslm {

using ValuePointer = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*>;

/// One field of a settings struct: its description and where its value lives.
struct Field {
  std::string key;    ///< whole key, "training.learning_rate"
  std::string older;  ///< whole older key that is accepted too, or ""
  std::string help;
  Rule rule;
  ValuePointer value;
};

struct Section {
  std::string key;    ///< "model.rope"
  std::string older;  ///< older name, or ""
  std::string help;
};

/// Keys of the model section that choose other values and are resolved by them, so a resolved configuration has none.
struct ModelChoice {
  std::string preset;
  std::string reasoning_effort;

  template <class V>
  void describe(V& field) {
    field("preset", preset, anything(), "a known model to start from; keys beside it replace its values");
    field("reasoning_effort", reasoning_effort, one_of({"", "low", "medium", "high"}),
          "experts per token: low 1, medium num_experts_per_tok, high twice that; empty = medium");
  }
};

/// The visitor that writes down everything describe() says, in order. Pointers stay valid as long as what was visited.
class FieldCollector {
 public:
  std::vector<Section> sections;
  std::vector<Field> fields;

  template <class T>
  void operator()(const char* key, T& value, Rule rule, const char* help, const char* older = "") {
    fields.push_back({prefix_ + key, older, help, std::move(rule), &value});
  }

  template <class S>
  void section(const char* key, S& settings, const char* help, const char* older = "") {
    sections.push_back({prefix_ + key, older, help});
    inside(prefix_ + key, settings);
  }

  /// Visits settings as part of a section that is not listed again.
  template <class S>
  void inside(const std::string& section_key, S& settings) {
    const std::string outer = std::exchange(prefix_, section_key + ".");
    settings.describe(*this);
    prefix_ = outer;
  }

 private:
  std::string prefix_;
};

/// Every field of the settings and, when given, of the choice.
FieldCollector collect_fields(Settings& settings, ModelChoice* choice = nullptr);

/// The fields of a model alone, under the keys they have in a configuration.
FieldCollector collect_fields(ModelConfig& model);

/// The fields of a generation section alone, under the keys they have in a configuration.
FieldCollector collect_fields(GenerationSettings& generation);

/// Reads the value from YAML and checks it. @throws Error(usage) that begins with `place`
void set_value(const Field& field, const YAML::Node& node, const std::string& place);

/// Checks the value against the rule. @throws Error(usage) that begins with `place`
void check_value(const Field& field, const std::string& place);

/// The value as YAML that set_value() reads back unchanged.
std::string value_text(const Field& field);

/// What a value may be, as a person says it: "a whole number of at least 1".
std::string expected_text(const Field& field);

/// "model.rope" of "model.rope.theta", "" at the top.
std::string section_of(const std::string& key);

/// "theta" of "model.rope.theta".
std::string name_of(const std::string& key);

/// "file:14: " or "" when the place is not known.
std::string prefix_of(const std::string& place);

}  // namespace xinslm
