#pragma once
#include <filesystem>
#include <memory>

#include "xinslm/config/settings.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Takes the architecture of a model folder into the settings.
/// @param resumed  it is the run's own checkpoint: nothing the settings say about the model can be in conflict
/// @throws Error(usage) naming the keys under model that were set to something else
void take_architecture(Settings& settings, const std::filesystem::path& folder, bool resumed);

/// The tokenizer of the model folder `source` if there is one, else the one the settings name, else one made from the
/// training text. @throws Error(usage) when the settings name another tokenizer than the model's
std::shared_ptr<const Tokenizer> open_tokenizer(const Settings& settings, const std::filesystem::path& source);

/// Fills in what the model takes from the tokenizer: vocab_size where it was not set, and the ids that start, end and
/// pad a text.
/// @param model_exists  its vocabulary has a size already
/// @throws Error(usage) when the model has fewer tokens than the tokenizer
void take_vocabulary(Settings& settings, const Tokenizer& tokenizer, bool model_exists);

/// A model that learns from dialogues ends its answers as the chat format does; its eos_token_id says so to `chat`.
void take_answer_end(Settings& settings, const Tokenizer& tokenizer);

}  // namespace xinslm
