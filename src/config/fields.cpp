#include "config/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <optional>
#include <sstream>

#include "config/nearest.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

template <class... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};

/// A decimal number and nothing else, whatever the locale says about commas.
std::optional<double> parse_number(const std::string& text) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  double value;
  if (!(in >> std::noskipws >> value) || in.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
  return value;
}

/// A whole number, also written like 2e6.
std::optional<int64_t> parse_whole_number(const std::string& text) {
  int64_t value;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc() && end == text.data() + text.size()) return value;
  const std::optional<double> number = parse_number(text);
  constexpr double largest_exact = 9007199254740992.0;  // 2^53
  if (!number || *number != std::floor(*number) || std::abs(*number) > largest_exact) return std::nullopt;
  return static_cast<int64_t>(*number);
}

/// What to say besides about a text that is a whole number, but no int64_t.
std::string hint_of_size(const std::string& text) {
  const std::optional<double> number = parse_number(text);
  return number && *number == std::floor(*number) ? " and below 2^63" : "";
}

/// The shortest text that reads back to the same number.
std::string number_text(double value) {
  std::string text;
  for (int digits = 6; digits <= 17; ++digits) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(digits);
    out << value;
    text = out.str();
    if (parse_number(text) == value) break;
  }
  return text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char digits[] = "0123456789abcdef";
      out += {'\\', 'x', digits[c >> 4], digits[c & 15]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// Without quotes where YAML cannot take it for anything but this string.
std::string string_text(const std::string& text) {
  static const std::string others = "_/.-";
  bool plain = !text.empty() && text[0] != '-' && text != "null" && text != "Null" && text != "NULL";
  for (const char c : text) {
    const bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    plain = plain && (letter || others.find(c) != std::string::npos);
  }
  return plain ? text : quoted(text);
}

std::string list_text(const std::vector<std::string>& list) {
  std::string text = "[";
  for (const std::string& item : list) text += (text.size() > 1 ? ", " : "") + string_text(item);
  return text + "]";
}

/// What stands in the file, for an error about it.
std::string found_text(const YAML::Node& node) {
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "empty";
  constexpr size_t longest = 80;
  const std::string text = node.Scalar();
  return quoted(text.size() <= longest ? text : text.substr(0, longest) + "...");
}

[[noreturn]] void reject(const Field& field, const std::string& found, const std::string& place,
                         const std::string& hint = "") {
  usage_error(prefix_of(place), field.key, " is ", found, ", expected ", expected_text(field), hint);
}

std::vector<std::string> read_list(const Field& field, const YAML::Node& node, const std::string& place) {
  if (node.IsNull()) return {};
  if (node.IsScalar()) return {node.Scalar()};
  if (!node.IsSequence()) reject(field, found_text(node), place);
  std::vector<std::string> list;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) reject(field, "a list with " + found_text(item) + " in it", place);
    list.push_back(item.Scalar());
  }
  return list;
}

std::string range_text(const Rule& rule, bool whole) {
  const std::string noun = std::string(rule.or_zero ? "0 or " : "") + (whole ? "a whole number" : "a number");
  const auto text = [whole](double end) {
    return whole ? std::to_string(static_cast<int64_t>(end)) : number_text(end);
  };
  const bool low = std::isfinite(rule.low), high = std::isfinite(rule.high);
  if (!low && !high) return noun;
  if (!high) return noun + (rule.low_open ? " above " : " of at least ") + text(rule.low);
  if (rule.low_open) return noun + " above " + text(rule.low) + ", at most " + text(rule.high);
  return noun + " from " + text(rule.low) + (rule.high_open ? " to below " : " to ") + text(rule.high);
}

void check_number(const Field& field, double value, const std::string& place) {
  const Rule& rule = field.rule;
  const bool inside = std::isfinite(value) && (rule.low_open ? value > rule.low : value >= rule.low) &&
                      (rule.high_open ? value < rule.high : value <= rule.high);
  if (!inside && !(rule.or_zero && value == 0)) reject(field, value_text(field), place);
}

void check_word(const Field& field, const std::string& word, const std::string& place) {
  const std::vector<std::string>& choices = field.rule.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), word) != choices.end()) return;
  reject(field, quoted(word), place, suggestion(word, choices));
}

}  // namespace

FieldCollector collect_fields(Settings& settings, ModelChoice* choice) {
  FieldCollector collector;
  if (choice != nullptr) collector.inside("model", *choice);
  settings.describe(collector);
  return collector;
}

FieldCollector collect_fields(GenerationSettings& generation) {
  FieldCollector collector;
  collector.inside("generation", generation);
  return collector;
}

FieldCollector collect_fields(ModelConfig& model) {
  FieldCollector collector;
  collector.inside("model", model);
  return collector;
}

void set_value(const Field& field, const YAML::Node& node, const std::string& place) {
  const bool scalar = node.IsScalar();
  std::visit(Match{[&](bool* value) {
                     if (!scalar || !YAML::convert<bool>::decode(node, *value)) reject(field, found_text(node), place);
                   },
                   [&](int64_t* value) {
                     const auto number = scalar ? parse_whole_number(node.Scalar()) : std::nullopt;
                     if (!number) reject(field, found_text(node), place, scalar ? hint_of_size(node.Scalar()) : "");
                     *value = *number;
                   },
                   [&](double* value) {
                     const auto number = scalar ? parse_number(node.Scalar()) : std::nullopt;
                     if (!number) reject(field, found_text(node), place);
                     *value = *number;
                   },
                   [&](std::string* value) {
                     if (!scalar && !node.IsNull()) reject(field, found_text(node), place);
                     *value = scalar ? node.Scalar() : "";
                   },
                   [&](std::vector<std::string>* value) { *value = read_list(field, node, place); }},
             field.value);
  check_value(field, place);
}

void check_value(const Field& field, const std::string& place) {
  std::visit(Match{[](bool*) {}, [&](int64_t* value) { check_number(field, static_cast<double>(*value), place); },
                   [&](double* value) { check_number(field, *value, place); },
                   [&](std::string* value) { check_word(field, *value, place); },
                   [&](std::vector<std::string>* value) {
                     for (const std::string& word : *value) check_word(field, word, place);
                   }},
             field.value);
}

std::string value_text(const Field& field) {
  return std::visit(
      Match{[](bool* value) { return std::string(*value ? "true" : "false"); },
            [](int64_t* value) { return std::to_string(*value); }, [](double* value) { return number_text(*value); },
            [](std::string* value) { return string_text(*value); },
            [](std::vector<std::string>* value) { return list_text(*value); }},
      field.value);
}

std::string expected_text(const Field& field) {
  std::vector<std::string> choices;
  for (const std::string& word : field.rule.choices) choices.push_back(word.empty() ? "empty" : word);
  return std::visit(
      Match{[](bool*) { return std::string("true or false"); }, [&](int64_t*) { return range_text(field.rule, true); },
            [&](double*) { return range_text(field.rule, false); },
            [&](std::string*) { return choices.empty() ? "text" : enumerate(choices); },
            [&](std::vector<std::string>*) {
              return choices.empty() ? "a list of texts" : "a list of " + enumerate(choices, " and ");
            }},
      field.value);
}

std::string section_of(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

std::string name_of(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

std::string prefix_of(const std::string& place) {
  return place.empty() ? "" : place + ": ";
}

}  // namespace xinslm
