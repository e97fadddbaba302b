#include <algorithm>
#include <cctype>
#include <sstream>

#include "grammar.h"
#include "xinslm/core/error.h"

namespace xinslm {

/// Turns the notation into nodes.
class GrammarReader {
 public:
  explicit GrammarReader(Grammar& grammar) : grammar_(grammar) {}

  void read(std::string_view notation) {
    std::istringstream lines{std::string(notation)};
    while (std::getline(lines, line_)) {
      ++number_;
      if (line_.find_first_not_of(' ') == std::string::npos) continue;
      if (line_[0] == ' ') {
        read_entry();
      } else {
        read_heading();
      }
    }
    for (auto& [name, table] : grammar_.tables_) normalise(table.weights);
    for (auto& choice : grammar_.choices_) normalise(choice.probabilities);
  }

 private:
  using Node = Grammar::Node;

  [[noreturn]] void mistake(const std::string& what) const {
    runtime_failure("grammar line ", number_, ": ", what, ": ", line_);
  }

  static void normalise(std::vector<double>& weights) {
    double total = 0;
    for (double weight : weights) total += weight;
    for (double& weight : weights) weight /= total;
  }

  static Node node_of(Node::Kind kind) {
    Node node;
    node.kind = kind;
    return node;
  }

  void read_heading() {
    std::istringstream words(line_);
    std::string kind, name;
    words >> kind >> name;
    table_ = nullptr;
    if (kind == "table") {
      table_ = &grammar_.tables_[name];
      for (std::string column; words >> column;) table_->columns.push_back(column);
    } else if (kind == "rule") {
      rule_ = static_cast<int>(grammar_.choices_.size());
      if (!grammar_.rules_.emplace(name, rule_).second) mistake("this rule exists already");
      grammar_.choices_.emplace_back();
    } else {
      mistake("expected table or rule");
    }
  }

  void read_entry() {
    std::istringstream words(line_);
    double weight = 0;
    if (!(words >> weight) || weight <= 0) mistake("expected a weight");
    if (table_ != nullptr) {
      std::vector<std::string> row;
      for (std::string word; words >> word;) {
        std::replace(word.begin(), word.end(), '_', ' ');
        row.push_back(word);
      }
      if (row.size() != table_->columns.size()) mistake(cat("expected ", table_->columns.size(), " words"));
      table_->rows.push_back(std::move(row));
      table_->weights.push_back(weight);
      return;
    }
    std::getline(words >> std::ws, text_);
    at_ = 0;
    auto sequence = read_sequence(false);
    grammar_.choices_[rule_].alternatives.push_back(std::move(sequence));
    grammar_.choices_[rule_].probabilities.push_back(weight);
  }

  Grammar::Sequence read_sequence(bool inside) {
    Grammar::Sequence sequence;
    while (at_ < text_.size() && !(inside && (text_[at_] == '|' || text_[at_] == ')'))) {
      const char c = text_[at_++];
      if (c == '[') {
        sequence.push_back(read_form());
      } else if (c == '{') {
        sequence.push_back(node_of(Node::Kind::rule));
        sequence.back().name = read_name(until('}'));
      } else if (c == '<') {
        sequence.push_back(read_draw(until('>')));
      } else if (c == '(') {
        sequence.push_back(read_choice());
      } else {
        if (sequence.empty() || sequence.back().kind != Node::Kind::text) sequence.emplace_back();
        const bool line_break = c == '\\' && at_ < text_.size() && text_[at_] == 'n';
        sequence.back().text += line_break ? '\n' : c;
        at_ += line_break;
      }
    }
    return sequence;
  }

  std::string until(char end) {
    const size_t found = text_.find(end, at_);
    if (found == std::string::npos) mistake(cat("missing ", end));
    const std::string inner = text_.substr(at_, found - at_);
    at_ = found + 1;
    return inner;
  }

  int variable(const std::string& name) {
    auto& names = grammar_.variables_;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<int>(found - names.begin());
    names.push_back(name);
    return static_cast<int>(names.size()) - 1;
  }

  std::pair<int, std::string> reference(const std::string& text) {
    const size_t dot = text.find('.');
    if (dot == std::string::npos) mistake("expected [variable.column]");
    return {variable(text.substr(0, dot)), text.substr(dot + 1)};
  }

  Node read_form() {
    std::string inner = until(']');
    Node node = node_of(Node::Kind::form);
    node.capital = inner.starts_with('^');
    std::tie(node.variable, node.text) = reference(inner.substr(node.capital));
    return node;
  }

  Grammar::Name read_name(const std::string& text) {
    Grammar::Name name;
    name.texts.emplace_back();
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '[') {
        name.texts.back() += text[i];
        continue;
      }
      const size_t end = text.find(']', i);
      if (end == std::string::npos) mistake("missing ]");
      name.references.push_back(reference(text.substr(i + 1, end - i - 1)));
      name.texts.emplace_back();
      i = end;
    }
    return name;
  }

  Node read_draw(const std::string& inner) {
    const size_t equals = inner.find('='), mark = inner.find('!');
    if (equals == std::string::npos) mistake("expected <variable=table>");
    Node node = node_of(Node::Kind::draw);
    node.variable = variable(inner.substr(0, equals));
    node.name = read_name(inner.substr(equals + 1, mark == std::string::npos ? mark : mark - equals - 1));
    if (mark == std::string::npos) return node;
    std::istringstream others(inner.substr(mark + 1));
    for (std::string other; std::getline(others, other, ',');) node.others.push_back(variable(other));
    return node;
  }

  Node read_choice() {
    Grammar::Choice choice;
    do {
      size_t digits = at_;
      while (digits < text_.size() && std::isdigit(static_cast<unsigned char>(text_[digits]))) ++digits;
      double weight = 1;
      if (digits > at_ && digits < text_.size() && text_[digits] == ':') {
        weight = std::stod(text_.substr(at_, digits - at_));
        at_ = digits + 1;
      }
      choice.alternatives.push_back(read_sequence(true));
      choice.probabilities.push_back(weight);
    } while (at_ < text_.size() && text_[at_++] == '|');
    if (text_[at_ - 1] != ')') mistake("missing )");
    grammar_.choices_.push_back(std::move(choice));
    Node node = node_of(Node::Kind::choice);
    node.choice = static_cast<int>(grammar_.choices_.size()) - 1;
    return node;
  }

  Grammar& grammar_;
  std::string line_, text_;
  size_t at_ = 0;
  int number_ = 0, rule_ = -1;
  Grammar::Table* table_ = nullptr;
};

Grammar::Grammar(std::string_view notation) {
  GrammarReader(*this).read(notation);
  if (!rules_.contains("start")) runtime_failure("grammar: no rule start");
  entropy();  // goes everywhere, so every missing rule, table and column shows
}

}  // namespace xinslm
