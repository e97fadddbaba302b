#include "xinslm/cli/generation_json.h"

#include <cmath>

#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/machine.h"

namespace xinslm::cli {
namespace {

/// The token as readable text in quotes, control characters escaped.
std::string quoted(TokenId id, const Tokenizer& tokenizer) {
  return dump_json(Json(tokenizer.token_bytes(id)));
}

std::string percent(double log_probability) {
  return fixed(100 * std::exp(log_probability), 1) + " %";
}

}  // namespace

Json generation_json(const GenerateResult& result, const Tokenizer& tokenizer) {
  Json ids = Json::array(), log_probabilities = Json::array(), alternatives = Json::array();
  for (const TokenChoice& choice : result.tokens) {
    ids.push_back(choice.id);
    log_probabilities.push_back(choice.log_probability);
    Json best = Json::array();
    for (const auto& [id, log_probability] : choice.alternatives) {
      best.push_back({{"id", id}, {"token", tokenizer.token_bytes(id)}, {"log_probability", log_probability}});
    }
    if (!choice.alternatives.empty()) alternatives.push_back(best);
  }
  Json json = {{"text", result.text},
               {"ids", ids},
               {"log_probabilities", log_probabilities},
               {"log_probability_sum", result.log_probability()},
               {"finish_reason", result.finish_reason},
               {"prompt_tokens", result.prompt_tokens},
               {"reused_tokens", result.reused_tokens},
               {"generated_tokens", result.tokens.size()},
               {"prompt_seconds", result.prompt_seconds},
               {"generate_seconds", result.generate_seconds},
               {"prompt_tokens_per_second", result.prompt_tokens_per_second()},
               {"generate_tokens_per_second", result.generate_tokens_per_second()}};
  if (!alternatives.empty()) json["alternatives"] = alternatives;
  return json;
}

Json infer_json(const OpenModel& open, uint64_t seed, const Json& samples) {
  Json json = {{"model", open.folder.string()}, {"seed", seed}, {"peak_memory", peak_memory()}};
  if (!samples.empty()) json.update(samples.front());
  if (samples.size() > 1) json["samples"] = samples;
  return json;
}

std::string describe_choice(const TokenChoice& choice, const Tokenizer& tokenizer) {
  std::string line = cat(quoted(choice.id, tokenizer), " ", percent(choice.log_probability), ":");
  for (const auto& [id, log_probability] : choice.alternatives) {
    line += cat("  ", quoted(id, tokenizer), " ", percent(log_probability));
  }
  return line;
}

std::string speed_line(const GenerateResult& result) {
  const int64_t computed = result.prompt_tokens - result.reused_tokens;
  std::string line =
      cat(computed, " prompt tokens at ", fixed(result.prompt_tokens_per_second(), 0), " tokens/s, ",
          result.tokens.size(), " generated at ", fixed(result.generate_tokens_per_second(), 1), " tokens/s");
  if (result.reused_tokens > 0) line += cat("; ", result.reused_tokens, " taken from the cache");
  line += "; " + peak_memory_text();
  if (result.finish_reason == "context") line += "; the model's length is used up";
  return line;
}

}  // namespace xinslm::cli
