#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/cli/common.h"

namespace xinslm::cli {

struct BenchOptions {
  ModelOptions model;
  std::vector<std::string> tasks;
  std::string data, json;
  std::string line_end, separator = "<|endoftext|>";
  int64_t limit = 0, context = 0, stride = 0, batch_tokens = 4096;
  int64_t prompt = 512, generate = 128, repetitions = 5;
  std::vector<int64_t> depths = {0};
  const CLI::App* command = nullptr;

  bool given(const char* option) const { return command->get_option(option)->count() > 0; }
};

}  // namespace xinslm::cli
