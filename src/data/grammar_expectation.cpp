#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "grammar.h"
#include "xinslm/core/error.h"

namespace xinslm {

/// Expected value of a sum over a derivation by recursion over the grammar:
///
///     E[choice]   = sum_a p_a (value(a) + E[a])
///     E[x y]      = E[x] + E[y]
///     E[draw v y] = sum_r p_r (value(r) + E[y | v = r])
///
/// The value of choosing is -ln p for the entropy and 0 for lengths. What a part of the grammar can see of the
/// variables is little (a kind, a gender), so results are kept by that, and lengths are summed one variable at a time.
class Expectation {
 public:
  enum class Of { entropy, literal_bytes, word_bytes };

  Expectation(const Grammar& grammar, Of of, int variable = -1) : grammar_(grammar), of_(of), variable_(variable) {}

  double value() {
    Grammar::Environment env(grammar_.variables_.size());
    return of_choice(grammar_.choices_[grammar_.rules_.at("start")], env);
  }

 private:
  using Node = Grammar::Node;
  using Place = std::pair<const Grammar::Sequence*, size_t>;
  /// A variable and the column looked at; "" = which row it is.
  using Seen = std::set<std::pair<int, std::string>>;

  double of_probability(double probability) const { return of_ == Of::entropy ? -std::log(probability) : 0.0; }

  double of_choice(const Grammar::Choice& choice, Grammar::Environment& env) {
    double sum = 0;
    for (size_t i = 0; i < choice.alternatives.size(); ++i) {
      const double p = choice.probabilities[i];
      sum += p * (of_probability(p) + of_sequence(choice.alternatives[i], 0, env));
    }
    return sum;
  }

  double of_sequence(const Grammar::Sequence& sequence, size_t at, Grammar::Environment& env) {
    if (at == sequence.size()) return 0;
    const auto key = std::tuple(Place(&sequence, at), view(seen_from(sequence, at), env));
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    const Node& node = sequence[at];
    double result = 0;
    if (node.kind == Node::Kind::draw) {
      result = of_draw(sequence, at, env);
    } else {
      if (node.kind == Node::Kind::text) {
        result = of_ == Of::literal_bytes ? static_cast<double>(node.text.size()) : 0.0;
      } else if (node.kind == Node::Kind::form) {
        const auto width = static_cast<double>(grammar_.form(node, env).size());
        result = of_ == Of::word_bytes && node.variable == variable_ ? width : 0.0;
      } else {
        result = of_choice(grammar_.choice_of(node, env), env);
      }
      result += of_sequence(sequence, at + 1, env);
    }
    known_[key] = result;
    return result;
  }

  double of_draw(const Grammar::Sequence& sequence, size_t at, Grammar::Environment& env) {
    const Node& node = sequence[at];
    const Grammar::Table& table = grammar_.table_of(node, env);
    const auto probabilities = grammar_.row_probabilities(node, table, env);
    const Grammar::Binding outer = env[node.variable];
    double sum = 0;
    for (size_t row = 0; row < probabilities.size(); ++row) {
      if (probabilities[row] <= 0) continue;
      env[node.variable] = {&table, static_cast<int>(row)};
      sum += probabilities[row] * (of_probability(probabilities[row]) + of_sequence(sequence, at + 1, env));
    }
    env[node.variable] = outer;
    return sum;
  }

  /// What the result from this place on can depend on.
  const Seen& seen_from(const Grammar::Sequence& sequence, size_t at) {
    const Place place(&sequence, at);
    if (const auto found = seen_.find(place); found != seen_.end()) return found->second;
    if (!open_.insert(place).second) runtime_failure("grammar: a rule uses itself");
    const Node& node = sequence[at];
    Seen seen;
    if (at + 1 < sequence.size()) seen = seen_from(sequence, at + 1);
    if (node.kind == Node::Kind::draw) {
      std::erase_if(seen, [&](const auto& entry) { return entry.first == node.variable; });
      for (int other : node.others) seen.emplace(other, "");
    }
    if (node.kind == Node::Kind::form && node.variable == variable_) seen.emplace(node.variable, "");
    for (const auto& reference : node.name.references) seen.insert(reference);
    if (node.kind == Node::Kind::choice) add_seen(grammar_.choices_[node.choice], seen);
    if (node.kind == Node::Kind::rule) {
      for (const auto& [name, index] : grammar_.rules_) {
        if (may_be(node.name, name)) add_seen(grammar_.choices_[index], seen);
      }
    }
    open_.erase(place);
    return seen_[place] = std::move(seen);
  }

  void add_seen(const Grammar::Choice& choice, Seen& seen) {
    for (const auto& alternative : choice.alternatives) {
      if (alternative.empty()) continue;
      const Seen& more = seen_from(alternative, 0);
      seen.insert(more.begin(), more.end());
    }
  }

  static bool may_be(const Grammar::Name& name, const std::string& rule) {
    if (name.references.empty()) return rule == name.texts[0];
    return rule.starts_with(name.texts.front()) && rule.ends_with(name.texts.back());
  }

  /// The variables as seen, written down.
  std::string view(const Seen& seen, const Grammar::Environment& env) const {
    std::string text;
    for (const auto& [variable, column] : seen) {
      const Grammar::Binding& binding = env[variable];
      const bool known = binding.table != nullptr &&
                         std::count(binding.table->columns.begin(), binding.table->columns.end(), column) > 0;
      text += known ? grammar_.word(variable, column, env) : cat(binding.table, '#', binding.row);
      text += ';';
    }
    return text;
  }

  const Grammar& grammar_;
  Of of_;
  int variable_;
  std::map<std::tuple<Place, std::string>, double> known_;
  std::map<Place, Seen> seen_;
  std::set<Place> open_;
};

double Grammar::entropy() const {
  return Expectation(*this, Expectation::Of::entropy).value();
}

double Grammar::expected_bytes() const {
  double sum = Expectation(*this, Expectation::Of::literal_bytes).value();
  for (size_t v = 0; v < variables_.size(); ++v) {
    sum += Expectation(*this, Expectation::Of::word_bytes, static_cast<int>(v)).value();
  }
  return sum;
}

}  // namespace xinslm
