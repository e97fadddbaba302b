#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace xinslm {

/// A question with several answers, of which one is right.
struct ChoiceItem {
  std::vector<std::string> contexts;       ///< one for all endings, or one each
  std::vector<std::string> continuations;  ///< one for all contexts, or one each
  size_t right = 0;
};

/// Items of a file, prepared as lm-evaluation-harness does. @throws Error(data) naming file, line and field
std::vector<ChoiceItem> read_hellaswag(const std::filesystem::path& file, int64_t limit);
std::vector<ChoiceItem> read_winogrande(const std::filesystem::path& file, int64_t limit);

struct LambadaItem {
  std::string context;
  std::string target;  ///< " " and the last word
};
std::vector<LambadaItem> read_lambada(const std::filesystem::path& file, int64_t limit);

/// The text of each page of a WikiText file. A page begins at a heading of the first level, " = Title = ".
std::vector<std::string> wikitext_pages(const std::string& text);
/// Undoes WikiText's spacing around punctuation.
std::string wikitext_detokenize(const std::string& page);

/// Takes WikiHow's "[title]" and other artefacts in brackets out of a HellaSwag text.
std::string clean_hellaswag(const std::string& text);

}  // namespace xinslm
