#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xinslm/core/random.h"

namespace xinslm {

/// A probabilistic grammar with variables, so that names, pronouns and things agree through a whole text. Written as
/// text:
///
///     table person  name he kind       a table: its name and columns
///       2 Lily she girl                its rows: weight and words ("_" stands for a blank inside a word)
///       1 Tom he boy
///     rule start                       a rule: its alternatives, each with a weight
///       1 <hero=person> [hero.name] waved. [^hero.he] {mood.[hero.kind]}.
///     rule mood.girl
///       3 smiled
///       1 (2:sang|1:hummed)
///
/// <v=table> draws a row for the rest of the alternative and all rules used there, <v=table!w> another than that of w;
/// [v.column] writes a word of it, [^v.column] with a capital; {rule} uses a rule; (a|b) is a choice written in place,
/// with weights before a colon. Names of tables and rules may contain [v.column]. "\n" is a line break.
///
/// A text that two derivations write has the sum of their probabilities; the entropies below are those of the
/// derivations, which are those of the texts when each text has one.
class Grammar {
 public:
  /// @throws Error(runtime) for mistakes in the notation, rules that do not exist and rules that use themselves
  explicit Grammar(std::string_view notation);

  struct Sample {
    std::string text;
    double nats;  ///< -ln of the derivation's probability
  };
  Sample sample(RandomStream& random) const;

  struct Parse {
    double log_probability;  ///< ln p(text), -infinity when the grammar cannot write it
    int64_t derivations;
  };
  Parse parse(std::string_view text) const;

  /// Entropy of a derivation in nats.
  double entropy() const;
  /// Expected bytes of a text.
  double expected_bytes() const;

 private:
  friend class GrammarReader;
  friend class Expectation;

  struct Table {
    std::vector<std::string> columns;
    std::vector<std::vector<std::string>> rows;
    std::vector<double> weights;
  };
  /// A name that may depend on variables: pieces of text and (variable, column) in turn.
  struct Name {
    std::vector<std::string> texts;  ///< one more than references
    std::vector<std::pair<int, std::string>> references;
  };
  struct Node {
    enum class Kind { text, form, rule, choice, draw } kind = Kind::text;
    std::string text;         ///< text: what it writes; form: the column
    bool capital = false;     ///< form
    int variable = -1;        ///< form, draw
    Name name;                ///< rule, draw: rule or table
    std::vector<int> others;  ///< draw: variables whose rows are left out
    int choice = -1;          ///< choice: index into choices_
  };
  using Sequence = std::vector<Node>;
  struct Choice {
    std::vector<Sequence> alternatives;
    std::vector<double> probabilities;
  };
  struct Binding {
    const Table* table = nullptr;
    int row = -1;
  };
  using Environment = std::vector<Binding>;
  struct Match {
    size_t end;
    double log_probability;
    int64_t derivations;
  };

  std::string resolve(const Name& name, const Environment& env) const;
  const std::string& word(int variable, const std::string& column, const Environment& env) const;
  std::string form(const Node& node, const Environment& env) const;
  const Choice& choice_of(const Node& node, const Environment& env) const;
  const Table& table_of(const Node& node, const Environment& env) const;
  /// Probabilities of the rows of a draw: those of other variables have none.
  std::vector<double> row_probabilities(const Node& node, const Table& table, const Environment& env) const;

  double generate(const Sequence& sequence, size_t at, Environment& env, RandomStream& random, std::string& text) const;
  /// All places a derivation of the sequence can end when it begins at the position.
  std::vector<Match> match(const Sequence& sequence, size_t at, Environment& env, std::string_view text,
                           size_t position) const;
  std::vector<Match> match_choice(const Choice& choice, Environment& env, std::string_view text, size_t position) const;
  /// Adds what can end at the same place.
  static void add_matches(std::vector<Match>& matches, const std::vector<Match>& more, double log_probability,
                          int64_t derivations);

  std::map<std::string, Table> tables_;
  std::map<std::string, int> rules_;  ///< name -> index into choices_
  std::vector<Choice> choices_;
  std::vector<std::string> variables_;
};

}  // namespace xinslm
