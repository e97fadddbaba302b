#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "xinslm/core/error.h"

/// A folder of its own for each test, removed afterwards.
class TemporaryFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        std::filesystem::temp_directory_path() / xinslm::cat("xinslm-", test->test_suite_name(), "-", test->name(), "-",
                                                             ::testing::UnitTest::GetInstance()->random_seed());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void put(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }

  std::filesystem::path folder_;
};

/// The message of the Error(data) that the action throws; the test fails on anything else.
inline std::string data_error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const xinslm::Error& error) {
    EXPECT_EQ(error.kind(), xinslm::ErrorKind::data) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
