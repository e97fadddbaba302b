#pragma once
#include <cstdint>
#include <string>

#include "xinslm/config/field.h"

namespace xinslm {

/// How text is generated. One description of each number for the YAML section, the options of infer and chat, the
/// chat's commands, generation_config.json and the sampler.
struct GenerationSettings {
  double temperature = 0.8;
  int64_t top_k = 0;
  double top_p = 0.95;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  int64_t max_tokens = 0;
  int64_t seed = -1;

  template <class V>
  void describe(V& field) {
    field("temperature", temperature, at_least(0), "0 = always the most probable token");
    field("top_k", top_k, at_least(0), "choose among the k most probable; 0 = all");
    field("top_p", top_p, above_to(0, 1), "choose among the most probable that add up to p; 1 = all");
    field("min_p", min_p, between(0, 1), "drop tokens less probable than this share of the best");
    field("repetition_penalty", repetition_penalty, between(0.01, 100),
          "above 1: tokens already seen become less probable");
    field("max_tokens", max_tokens, at_least(0), "longest answer in tokens; 0 = 128 in infer, 512 in chat",
          "generation.max_new_tokens");
    field("seed", seed, at_least(-1), "the same seed gives the same text; -1 = another one each time");
  }
};

/// Checks the ranges. `where` begins the error, "" = nothing; @throws Error(usage)
void validate(const GenerationSettings& settings, const std::string& where);

/// Sets one value by its key from its text. @throws Error(usage) that calls it `name`, for a text that is no such
/// number or one out of range
void set_generation(GenerationSettings& settings, const std::string& key, const std::string& text,
                    const std::string& name);

/// The value of a key as text.
std::string generation_text(const GenerationSettings& settings, const std::string& key);

}  // namespace xinslm
