#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "config/fields.h"
#include "xinslm/cli/common.h"
#include "xinslm/cli/number_option.h"
#include "xinslm/core/error.h"
#include "xinslm/model/estimate.h"
#include "xinslm/model/token_work.h"

// Every number at the ends of what it may be and of what can be written: taken, or refused in one line, and the same as
// an option.

namespace xinslm::cli {
namespace {

bool is_whole(const Field& field) {
  return std::holds_alternative<int64_t*>(field.value);
}
bool is_number(const Field& field) {
  return is_whole(field) || std::holds_alternative<double*>(field.value);
}

std::string text_of(double value) {
  double copy = value;
  return value_text({"", "", "", {}, &copy});
}

std::vector<std::string> values_for(const Field& field) {
  std::vector<std::string> values = {"0",
                                     "1",
                                     "-1",
                                     "1e-40",
                                     "5e-324",
                                     "1.7976931348623157e308",
                                     "1e309",
                                     "-1e309",
                                     "9223372036854775807",
                                     "9223372036854775808",
                                     "nan",
                                     "inf",
                                     ""};
  for (const double end : {field.rule.low, field.rule.high}) {
    if (!std::isfinite(end)) continue;
    if (is_whole(field)) {
      for (const int64_t step : {-1, 0, 1}) values.push_back(std::to_string(static_cast<int64_t>(end) + step));
    } else {
      values.push_back(text_of(end));
      for (const double way : {-1.0, 1.0}) {
        values.push_back(text_of(std::nextafter(end, way * std::numeric_limits<double>::infinity())));
      }
    }
  }
  return values;
}

/// The message of the refusal, "" when the action is done.
template <class Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const Error& problem) {
    EXPECT_EQ(problem.kind(), ErrorKind::usage) << problem.what();
    return problem.what();
  }
  return "";
}

bool inside(const Field& field, const std::string& text) {
  return refusal([&] { set_value(field, YAML::Node(text), ""); }).empty();
}

TEST(Numbers, AreTakenOrRefusedInAConfigurationByTheirBoundsAlone) {
  Settings scratch;
  for (const Field& field : collect_fields(scratch).fields) {
    if (!is_number(field)) continue;
    for (const std::string& value : values_for(field)) {
      SCOPED_TRACE(field.key + "=" + value);
      Settings settings;
      const std::string problem =
          refusal([&] { settings = parse_settings("", "", {.assignments = {field.key + "=" + value}}, Purpose::run); });
      EXPECT_LT(problem.size(), 400u);
      if (!inside(field, value)) {
        EXPECT_NE(problem.find(field.key), std::string::npos) << problem;
      }
      if (!problem.empty()) continue;
      EXPECT_GT(training_memory(settings).total(), 0);
      EXPECT_GT(kv_cache_memory(settings.model, 1 << 20, settings.model.max_position_embeddings, at::kFloat), 0);
      for (const TokenWork& work : token_work(settings.model, settings.model.max_position_embeddings)) {
        EXPECT_GE(work.bytes16, 0) << work.part;
      }
    }
  }
}

/// What the program says to these arguments; "" when it takes them.
std::string parsed(CLI::App& program, const std::string& name, const std::string& value) {
  return refusal([&] { program.parse(std::vector<std::string>{value, name}); });  // CLI11 reads from the end
}

TEST(Numbers, OfSamplingHaveTheSameBoundsAsOptions) {
  GenerationSettings scratch;
  for (const Field& field : collect_fields(scratch).fields) {
    std::string option = "--" + name_of(field.key);
    std::replace(option.begin(), option.end(), '_', '-');
    for (const std::string& value : values_for(field)) {
      if (value.empty()) continue;
      SCOPED_TRACE(option + " " + value);
      CLI::App program;
      SamplingFlags flags;
      add_sampling_options(program, flags);
      const std::string problem = parsed(program, option, value);
      EXPECT_EQ(problem.empty(), inside(field, value)) << problem;
      if (!problem.empty()) {
        EXPECT_EQ(problem.find(option + " is "), 0u) << problem;
      }
      EXPECT_LT(problem.size(), 200u);
    }
  }
}

TEST(Numbers, OfOptionsAreReadAsInAConfiguration) {
  for (const Rule& rule : {at_least(0), between(1, 1 << 20), zero_or(2, 5)}) {
    int64_t whole = 0;
    const Field field{"--number", "", "", rule, &whole};
    for (const std::string& value : values_for(field)) {
      if (value.empty()) continue;
      CLI::App program;
      int64_t read = 0;
      add_number(program, "--number", read, rule, "");
      EXPECT_EQ(parsed(program, "--number", value).empty(), inside(field, value)) << value;
    }
  }
}

}  // namespace
}  // namespace xinslm::cli
