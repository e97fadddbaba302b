#pragma once
#include <gtest/gtest.h>

#include <string>

#include "xinslm/config/settings.h"
#include "xinslm/core/error.h"

namespace xinslm {

/// The message of the usage error that parsing throws, or a sentence that says there was none.
inline std::string parse_failure(const std::string& yaml, const SettingsOverrides& overrides = {}) {
  try {
    parse_settings(yaml, "mine.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "no error";
}

inline std::string override_failure(const std::string& assignment) {
  return parse_failure("", {.assignments = {assignment}});
}

}  // namespace xinslm
