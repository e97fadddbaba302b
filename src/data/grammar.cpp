#include "grammar.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

size_t draw(const std::vector<double>& probabilities, RandomStream& random) {
  double left = random.uniform();
  size_t last = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    if (probabilities[i] <= 0) continue;
    last = i;
    left -= probabilities[i];
    if (left < 0) break;
  }
  return last;  // rounding can leave a little more than nothing
}

double log_add(double a, double b) {
  const double larger = std::max(a, b);
  return std::isinf(larger) ? larger : larger + std::log1p(std::exp(std::min(a, b) - larger));
}

}  // namespace

const std::string& Grammar::word(int variable, const std::string& column, const Environment& env) const {
  const Binding& binding = env[variable];
  if (binding.table == nullptr) runtime_failure("grammar: ", variables_[variable], " is used before it is drawn");
  const auto& columns = binding.table->columns;
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end()) runtime_failure("grammar: ", variables_[variable], " has no column ", column);
  return binding.table->rows[binding.row][found - columns.begin()];
}

std::string Grammar::form(const Node& node, const Environment& env) const {
  std::string text = word(node.variable, node.text, env);
  if (node.capital) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string Grammar::resolve(const Name& name, const Environment& env) const {
  std::string resolved = name.texts[0];
  for (size_t i = 0; i < name.references.size(); ++i) {
    resolved += word(name.references[i].first, name.references[i].second, env) + name.texts[i + 1];
  }
  return resolved;
}

const Grammar::Choice& Grammar::choice_of(const Node& node, const Environment& env) const {
  if (node.kind == Node::Kind::choice) return choices_[node.choice];
  const std::string name = resolve(node.name, env);
  const auto found = rules_.find(name);
  if (found == rules_.end()) runtime_failure("grammar: no rule ", name);
  return choices_[found->second];
}

const Grammar::Table& Grammar::table_of(const Node& node, const Environment& env) const {
  const std::string name = resolve(node.name, env);
  const auto found = tables_.find(name);
  if (found == tables_.end()) runtime_failure("grammar: no table ", name);
  return found->second;
}

std::vector<double> Grammar::row_probabilities(const Node& node, const Table& table, const Environment& env) const {
  std::vector<double> weights = table.weights;
  for (int other : node.others) {
    if (env[other].table == &table) weights[env[other].row] = 0;
  }
  double total = 0;
  for (double weight : weights) total += weight;
  for (double& weight : weights) weight /= total;
  return weights;
}

double Grammar::generate(const Sequence& sequence, size_t at, Environment& env, RandomStream& random,
                         std::string& text) const {
  double nats = 0;
  for (; at < sequence.size(); ++at) {
    const Node& node = sequence[at];
    if (node.kind == Node::Kind::text) {
      text += node.text;
    } else if (node.kind == Node::Kind::form) {
      text += form(node, env);
    } else if (node.kind == Node::Kind::draw) {
      const Table& table = table_of(node, env);
      const auto probabilities = row_probabilities(node, table, env);
      const size_t row = draw(probabilities, random);
      const Binding outer = std::exchange(env[node.variable], {&table, static_cast<int>(row)});
      nats += generate(sequence, at + 1, env, random, text);
      env[node.variable] = outer;
      return nats - std::log(probabilities[row]);
    } else {
      const Choice& choice = choice_of(node, env);
      const size_t taken = draw(choice.probabilities, random);
      nats += generate(choice.alternatives[taken], 0, env, random, text) - std::log(choice.probabilities[taken]);
    }
  }
  return nats;
}

Grammar::Sample Grammar::sample(RandomStream& random) const {
  Sample sample;
  Environment env(variables_.size());
  const Choice& start = choices_[rules_.at("start")];
  const size_t taken = draw(start.probabilities, random);
  sample.nats = generate(start.alternatives[taken], 0, env, random, sample.text);
  sample.nats -= std::log(start.probabilities[taken]);
  return sample;
}

void Grammar::add_matches(std::vector<Match>& matches, const std::vector<Match>& more, double log_probability,
                          int64_t derivations) {
  for (const Match& match : more) {
    const Match scaled{match.end, match.log_probability + log_probability, match.derivations * derivations};
    const auto same = std::find_if(matches.begin(), matches.end(), [&](const Match& m) { return m.end == match.end; });
    if (same == matches.end()) {
      matches.push_back(scaled);
    } else {
      same->log_probability = log_add(same->log_probability, scaled.log_probability);
      same->derivations += scaled.derivations;
    }
  }
}

std::vector<Grammar::Match> Grammar::match_choice(const Choice& choice, Environment& env, std::string_view text,
                                                  size_t position) const {
  std::vector<Match> matches;
  for (size_t i = 0; i < choice.alternatives.size(); ++i) {
    add_matches(matches, match(choice.alternatives[i], 0, env, text, position), std::log(choice.probabilities[i]), 1);
  }
  return matches;
}

std::vector<Grammar::Match> Grammar::match(const Sequence& sequence, size_t at, Environment& env, std::string_view text,
                                           size_t position) const {
  std::vector<Match> matches;
  for (; at < sequence.size(); ++at) {
    const Node& node = sequence[at];
    if (node.kind == Node::Kind::text || node.kind == Node::Kind::form) {
      const std::string written = node.kind == Node::Kind::text ? node.text : form(node, env);
      if (!text.substr(position).starts_with(written)) return {};
      position += written.size();
    } else if (node.kind == Node::Kind::draw) {
      const Table& table = table_of(node, env);
      const auto probabilities = row_probabilities(node, table, env);
      const Binding outer = env[node.variable];
      for (size_t row = 0; row < probabilities.size(); ++row) {
        if (probabilities[row] <= 0) continue;
        env[node.variable] = {&table, static_cast<int>(row)};
        add_matches(matches, match(sequence, at + 1, env, text, position), std::log(probabilities[row]), 1);
      }
      env[node.variable] = outer;
      return matches;
    } else {
      for (const Match& part : match_choice(choice_of(node, env), env, text, position)) {
        add_matches(matches, match(sequence, at + 1, env, text, part.end), part.log_probability, part.derivations);
      }
      return matches;
    }
  }
  return {{position, 0.0, 1}};
}

Grammar::Parse Grammar::parse(std::string_view text) const {
  Environment env(variables_.size());
  for (const Match& match : match_choice(choices_[rules_.at("start")], env, text, 0)) {
    if (match.end == text.size()) return {match.log_probability, match.derivations};
  }
  return {-std::numeric_limits<double>::infinity(), 0};
}

}  // namespace xinslm
