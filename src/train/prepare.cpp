#include "xinslm/train/prepare.h"

#include "train/setting_values.h"
#include "xinslm/core/error.h"
#include "xinslm/core/log.h"
#include "xinslm/data/training_data.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/tokenizer/train_tokenizer.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Choices of training rather than of architecture: a new run may make them anew.
bool is_choice(const std::string& key) {
  return key == "model.elastic_top_k" || key == "model.initializer_range";
}

std::shared_ptr<const Tokenizer> make_tokenizer(const Settings& settings) {
  TokenizerTrainingOptions options;
  options.vocab_size = settings.tokenizer.vocab_size > 0 ? settings.tokenizer.vocab_size : settings.model.vocab_size;
  options.type = parse_tokenizer_type(settings.tokenizer.type);
  options.character_coverage = settings.tokenizer.character_coverage;
  options.user_symbols = settings.tokenizer.keep_words;
  log::info(cat("learning a tokenizer of ", options.vocab_size, " tokens from the training text"));
  return train_tokenizer(options, training_text(settings));
}

}  // namespace

void take_architecture(Settings& settings, const fs::path& folder, bool resumed) {
  Settings taken = settings;
  taken.model = read_model_config(folder);
  if (resumed) {
    taken.model.elastic_top_k = settings.model.elastic_top_k;
  } else {
    if (settings.origins.contains("model.elastic_top_k")) taken.model.elastic_top_k = settings.model.elastic_top_k;
    const auto asked = setting_values(settings), has = setting_values(taken);
    std::string conflicts;
    for (const auto& [key, value] : asked) {
      const auto origin = settings.origins.find(key);
      if (origin == settings.origins.end() || !key.starts_with("model.") || is_choice(key) || has.at(key) == value)
        continue;
      conflicts += cat(conflicts.empty() ? "" : "; ", origin->second, ": ", key, " is ", value, ", the model's is ",
                       has.at(key));
    }
    if (!conflicts.empty()) {
      usage_error("--init ", folder.string(), " brings its own architecture, but ", conflicts,
                  "; leave these keys out");
    }
  }
  settings.model = taken.model;
  if (settings.training.max_seq_length > settings.model.max_position_embeddings) {
    usage_error("training.max_seq_length is ", settings.training.max_seq_length, ", but the model in ", folder.string(),
                " takes at most ", settings.model.max_position_embeddings, " tokens");
  }
}

std::shared_ptr<const Tokenizer> open_tokenizer(const Settings& settings, const fs::path& source) {
  const std::string& path = settings.tokenizer.path;
  if (source.empty()) return path.empty() ? make_tokenizer(settings) : load_tokenizer(path);
  auto tokenizer = load_tokenizer(source);
  if (!path.empty() && load_tokenizer(path)->fingerprint() != tokenizer->fingerprint()) {
    usage_error("tokenizer.path is ", path, ", which is not the tokenizer of the model in ", source.string(),
                "; leave tokenizer.path out");
  }
  return tokenizer;
}

void take_vocabulary(Settings& settings, const Tokenizer& tokenizer, bool model_exists) {
  ModelConfig& model = settings.model;
  const int64_t tokens = tokenizer.vocab_size();
  if (!model_exists && !settings.origins.contains("model.vocab_size")) model.vocab_size = tokens;
  if (model.vocab_size < tokens) {
    usage_error("model.vocab_size is ", model.vocab_size, ", but the tokenizer has ", tokens,
                " tokens; leave model.vocab_size out or set it to at least ", tokens);
  }
  const TokenId end = tokenizer.end_of_text();
  if (model.bos_token_id < 0) model.bos_token_id = end;
  if (model.eos_token_id < 0) model.eos_token_id = end;
  if (model.pad_token_id < 0) model.pad_token_id = end;
}

void take_answer_end(Settings& settings, const Tokenizer& tokenizer) {
  if (settings.origins.contains("model.eos_token_id")) return;
  if (const auto end = tokenizer.special_id("<|return|>")) settings.model.eos_token_id = *end;
}

}  // namespace xinslm
