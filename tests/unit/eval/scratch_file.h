#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace xinslm {

/// A file with some content that is gone after the test.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& content, const std::string& name = "items.jsonl")
      : path_(std::filesystem::temp_directory_path() / ("xinslm-eval-" + std::to_string(::getpid()) + "-" + name)) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~ScratchFile() { std::filesystem::remove(path_); }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace xinslm
