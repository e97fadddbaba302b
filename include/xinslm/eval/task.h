#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "xinslm/eval/scorer.h"
#include "xinslm/eval/statistics.h"

namespace xinslm {

/// One figure of a result.
struct Metric {
  std::string name;  ///< as lm-evaluation-harness calls it
  double value = 0;
  double standard_error = -1;  ///< -1 = the metric has none
  bool percent = false;        ///< a share, shown in per cent
};

struct TaskResult {
  std::string task;
  std::string protocol;  ///< scores only compare under the same one
  std::vector<Metric> metrics;
  int64_t items = 0;
  double seconds = 0;
  std::filesystem::path file;
  std::string file_sha256;
};

/// HellaSwag (Zellers et al. 2019), 0-shot. Each line is an object with activity_label, ctx_a, ctx_b, endings, label.
/// acc: the ending with the highest summed log-probability; acc_norm: the highest sum per character of the ending.
/// @param limit  first items of the file; 0 = all
/// @throws Error(data) naming file, line and field
TaskResult run_hellaswag(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                         const ShowProgress& progress = {});

/// LAMBADA (Paperno et al. 2016), the OpenAI variant, 0-shot. Each line is an object with text.
/// acc: every token of the last word is the most probable one; perplexity: of the last word.
TaskResult run_lambada(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                       const ShowProgress& progress = {});

/// WinoGrande (Sakaguchi et al. 2020), partial scoring, 0-shot. Each line is an object with sentence, option1, option2,
/// answer. acc: the option after which the rest of the sentence is more probable.
TaskResult run_winogrande(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                          const ShowProgress& progress = {});

/// WikiText-2 (Merity et al. 2016) by page, detokenised, in windows of the model's length.
/// word_perplexity, byte_perplexity and bits_per_byte refer to words and bytes before detokenising.
/// @param limit  first pages of the file; 0 = all
TaskResult run_wikitext(const Scorer& scorer, const std::filesystem::path& file, int64_t limit,
                        const ShowProgress& progress = {});

}  // namespace xinslm
