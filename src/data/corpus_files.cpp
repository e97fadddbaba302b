#include <glob.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "document_readers.h"
#include "xinslm/core/error.h"
#include "xinslm/core/log.h"
#include "xinslm/core/spool.h"
#include "xinslm/data/corpus.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// A corpus is opened several times in a run; what was left out is told once.
void tell(const std::string& message) {
  static std::set<std::string> told;
  if (told.insert(message).second) log::info(message);
}

/// What several names of one file or folder have in common.
fs::path identity(const fs::path& path) {
  std::error_code problem;
  const fs::path real = fs::canonical(path, problem);
  return problem ? fs::absolute(path) : real;
}

bool is_text_file(const fs::path& path) {
  const std::string ending = text_ending(path);
  return ending == ".txt" || ending == ".jsonl" || ending == ".ndjson";
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

/// The text files below a folder in the order of their names. Links are followed; a folder or file that several names
/// lead to is read once, under the first of them.
class FolderWalk {
 public:
  explicit FolderWalk(const fs::path& folder) : folder_(folder) {
    walk(folder);
    if (files_.empty()) {
      data_error(folder.string(), ": has no .txt, .jsonl or .ndjson file in it, nor one of them as .gz", left_out());
    }
    std::sort(files_.begin(), files_.end());
    if (!hidden_.empty()) tell(folder.string() + ": left out" + left_out());
  }

  std::vector<fs::path> files() && { return std::move(files_); }

 private:
  void walk(const fs::path& folder) {
    if (!seen_.insert(identity(folder)).second) return;
    std::error_code problem;
    std::vector<fs::path> names;
    for (fs::directory_iterator entry(folder, problem), end; !problem && entry != end; entry.increment(problem)) {
      names.push_back(entry->path());
    }
    if (problem) data_error(folder.string(), ": cannot read the folder: ", problem.message());
    std::sort(names.begin(), names.end());
    for (const fs::path& name : names) visit(name);
  }

  void visit(const fs::path& path) {
    if (is_hidden(path)) {
      hidden_.push_back(path.filename().string());
      return;
    }
    std::error_code problem;
    const fs::file_status status = fs::status(path, problem);
    if (!fs::exists(status)) {
      // Between the listing and now it may have gone; a link may lead nowhere or to itself.
      tell(cat(path.string(), ": leads to nothing", problem ? " (" + problem.message() + ")" : "", "; it is left out"));
    } else if (fs::is_directory(status)) {
      walk(path);
    } else if (fs::is_regular_file(status) && is_text_file(path) && seen_.insert(identity(path)).second) {
      files_.push_back(path);
    }
  }

  std::string left_out() const {
    constexpr size_t shown = 3;
    if (hidden_.empty()) return "";
    std::string text = cat(" (", hidden_.size(), " hidden: ");
    for (size_t i = 0; i < std::min(shown, hidden_.size()); ++i) text += cat(i > 0 ? ", " : "", hidden_[i]);
    return text + (hidden_.size() > shown ? ", ...)" : ")");
  }

  fs::path folder_;
  std::set<fs::path> seen_;
  std::vector<fs::path> files_;
  std::vector<std::string> hidden_;
};

std::vector<fs::path> glob_matches(const std::string& pattern) {
  glob_t found = {};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status != 0 || paths.empty()) data_error(pattern, ": no file matches; quote the pattern if a shell expands it");
  std::sort(paths.begin(), paths.end());
  return paths;
}

fs::path standard_input() {
  const fs::path copy = spooled("-");
  if (fs::file_size(copy) == 0) data_error("standard input: is empty, expected text");
  return copy;
}

/// A file or folder that exists.
std::vector<fs::path> files_at(const fs::path& path) {
  if (fs::is_directory(path)) return FolderWalk(path).files();
  if (reads_once(path)) return {spooled(path.string())};
  if (!fs::is_regular_file(path)) data_error(path.string(), ": is neither a file, a folder nor a pipe");
  return {path};
}

std::vector<fs::path> files_of(const std::string& input) {
  if (input == "-") return {standard_input()};
  if (input == "builtin")
    usage_error("builtin: the built-in stories stand by themselves and cannot be mixed with files");
  std::error_code problem;
  if (fs::exists(input, problem)) return files_at(input);
  if (input.find_first_of("*?[") == std::string::npos) {
    data_error(input, ": no such file or folder", problem ? " (" + problem.message() + ")" : "");
  }
  std::vector<fs::path> files;
  for (const fs::path& match : glob_matches(input)) {
    if (!fs::exists(match, problem)) {
      tell(match.string() + ": leads to nothing; it is left out");
      continue;
    }
    const auto found = files_at(match);
    files.insert(files.end(), found.begin(), found.end());
  }
  if (files.empty()) data_error(input, ": no file matches");
  return files;
}

}  // namespace

std::string text_ending(const fs::path& path) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  const std::string ending = lower(path.extension().string());
  return ending == ".gz" ? lower(path.stem().extension().string()) : ending;
}

std::vector<fs::path> corpus_files(const std::vector<std::string>& inputs) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  for (const std::string& input : inputs) {
    for (const fs::path& file : files_of(input)) {
      if (seen.insert(identity(file)).second) {
        files.push_back(file);
      } else {
        tell(cat(file.string(), ": is named more than once; it is read once"));
      }
    }
  }
  return files;
}

}  // namespace xinslm
