#include "xinslm/data/builtin_corpus.h"

#include "builtin_grammar.h"
#include "grammar.h"
#include "xinslm/core/error.h"
#include "xinslm/core/hash.h"

namespace xinslm {
namespace {

const Grammar& story_grammar() {
  static const Grammar grammar(builtin_grammar());
  return grammar;
}

}  // namespace

Story builtin_story(uint64_t seed, int64_t index) {
  RandomStream random{random_for::builtin_story, seed, static_cast<uint64_t>(index)};
  Grammar::Sample sample = story_grammar().sample(random);
  return {std::move(sample.text), sample.nats};
}

std::string builtin_fingerprint() {
  return sha256(builtin_grammar());
}

double text_nats(std::string_view story) {
  const Grammar::Parse parse = story_grammar().parse(story);
  if (parse.derivations == 0) data_error("the built-in grammar cannot write this text: ", story.substr(0, 80));
  return -parse.log_probability;
}

const StoryEntropy& builtin_entropy() {
  static const StoryEntropy entropy{story_grammar().entropy(), story_grammar().expected_bytes()};
  return entropy;
}

}  // namespace xinslm
