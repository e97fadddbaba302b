#include "train/setting_values.h"

#include <vector>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

class ValueCollector {
 public:
  std::map<std::string, std::string> values;

  template <class T, class... Rest>
  void operator()(const char* key, const T& value, const Rest&...) {
    values[prefix_ + key] = text(value);
  }

  template <class S, class... Rest>
  void section(const char* key, S& settings, const Rest&...) {
    const std::string outer = prefix_;
    prefix_ += std::string(key) + ".";
    settings.describe(*this);
    prefix_ = outer;
  }

 private:
  static std::string text(bool value) { return value ? "true" : "false"; }
  static std::string text(const std::string& value) { return value.empty() ? "\"\"" : value; }
  static std::string text(const std::vector<std::string>& value) {
    std::string joined = "[";
    for (const std::string& item : value) joined += (joined.size() > 1 ? ", " : "") + item;
    return joined + "]";
  }
  template <class Number>
  static std::string text(Number value) {
    return cat(value);
  }

  std::string prefix_;
};

}  // namespace

std::map<std::string, std::string> setting_values(Settings settings) {
  ValueCollector collector;
  settings.describe(collector);
  return collector.values;
}

}  // namespace xinslm
