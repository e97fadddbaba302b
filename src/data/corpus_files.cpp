#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/data/corpus.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

bool is_text_file(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz") name = name.stem();
  return name.extension() == ".txt" || name.extension() == ".jsonl";
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file() && is_text_file(entry.path())) files.push_back(entry.path());
    }
  } catch (const fs::filesystem_error& problem) {
    data_error(folder.string(), ": cannot read the folder: ", problem.code().message());
  }
  if (files.empty()) data_error(folder.string(), ": has no .txt, .jsonl, .txt.gz or .jsonl.gz file in it");
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<fs::path> glob_matches(const std::string& pattern) {
  glob_t found = {};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status != 0 || paths.empty()) data_error(pattern, ": no file matches; quote the pattern if a shell expands it");
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Standard input as a file: it can be read once only, but is needed for the tokenizer and for the tokens.
class StandardInputCopy {
 public:
  StandardInputCopy() : path_(fs::temp_directory_path() / cat("xinslm-stdin-", ::getpid())) {
    AtomicFile file(path_);
    std::vector<char> buffer(1 << 18);
    while (std::cin) {
      std::cin.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      file.stream().write(buffer.data(), std::cin.gcount());
    }
    file.commit();
  }
  StandardInputCopy(const StandardInputCopy&) = delete;
  ~StandardInputCopy() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

fs::path standard_input() {
  static const StandardInputCopy copy;
  if (fs::file_size(copy.path()) == 0) data_error("standard input: is empty, expected text");
  return copy.path();
}

std::vector<fs::path> files_of(const std::string& input) {
  if (input == "-") return {standard_input()};
  if (input == "builtin")
    usage_error("builtin: the built-in stories stand by themselves and cannot be mixed with files");
  std::error_code ignored;
  if (fs::is_directory(input, ignored)) return files_below(input);
  if (fs::exists(input, ignored)) return {input};
  if (input.find_first_of("*?[") == std::string::npos) data_error(input, ": no such file or folder");
  std::vector<fs::path> files;
  for (const fs::path& match : glob_matches(input)) {
    const auto found = fs::is_directory(match) ? files_below(match) : std::vector<fs::path>{match};
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace

std::vector<fs::path> corpus_files(const std::vector<std::string>& inputs) {
  std::vector<fs::path> files;
  for (const std::string& input : inputs) {
    const auto found = files_of(input);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace xinslm
