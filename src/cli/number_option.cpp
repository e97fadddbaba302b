#include "xinslm/cli/number_option.h"

#include <algorithm>

#include "config/fields.h"

namespace xinslm::cli {
namespace {

/// The name that errors call the option by.
std::string long_name(const std::string& names) {
  return names.substr(names.rfind(',') + 1);
}

CLI::Option* add(CLI::App& command, const std::string& names, const Field& field) {
  const auto read = [field](const std::string& text) { set_value(field, YAML::Node(text), ""); };
  return command.add_option_function<std::string>(names, read, field.help)->default_str(value_text(field));
}

}  // namespace

CLI::Option* add_number(CLI::App& command, const std::string& names, int64_t& value, const Rule& rule,
                        const std::string& help) {
  return add(command, names, {long_name(names), "", help, rule, &value})->type_name("N");
}

CLI::Option* add_number(CLI::App& command, const std::string& names, double& value, const Rule& rule,
                        const std::string& help) {
  return add(command, names, {long_name(names), "", help, rule, &value})->type_name("X");
}

CLI::Option* add_numbers(CLI::App& command, const std::string& names, std::vector<int64_t>& values, const Rule& rule,
                         const std::string& help) {
  const std::string name = long_name(names);
  const auto read = [name, rule, &values](const std::string& text) {
    std::vector<int64_t> numbers;
    for (size_t start = 0; start <= text.size();) {
      const size_t comma = std::min(text.find(',', start), text.size());
      set_value({name, "", "", rule, &numbers.emplace_back()}, YAML::Node(text.substr(start, comma - start)), "");
      start = comma + 1;
    }
    values = std::move(numbers);
  };
  return command.add_option_function<std::string>(names, read, help)->type_name("N,...");
}

}  // namespace xinslm::cli
