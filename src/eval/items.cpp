#include "xinslm/eval/items.h"

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/eval/text.h"

namespace xinslm {
namespace {

/// One line of a .jsonl file.
class Line {
 public:
  Line(std::string_view text, std::string where) : where_(std::move(where)), value_(parse_json(text, where_)) {
    if (!value_.is_object()) data_error(where_, ": expected a JSON object");
  }

  const std::string& where() const { return where_; }

  /// A text, or a whole number written as one.
  std::string text(const char* key) const {
    const Json& value = at(key);
    if (value.is_number_integer()) return cat(value.get<int64_t>());
    if (!value.is_string()) data_error(where_, ": \"", key, "\" must be a text, found ", value.type_name());
    return value.get<std::string>();
  }

  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> result;
    const Json& value = at(key);
    if (!value.is_array()) data_error(where_, ": \"", key, "\" must be a list, found ", value.type_name());
    for (const Json& one : value) {
      if (!one.is_string()) data_error(where_, ": \"", key, "\" must hold texts only, found ", one.type_name());
      result.push_back(one.get<std::string>());
    }
    return result;
  }

  /// A number in [first, last].
  size_t number(const char* key, size_t first, size_t last) const {
    const std::string found = text(key);
    for (size_t number = first; number <= last; ++number) {
      if (found == std::to_string(number)) return number;
    }
    data_error(where_, ": \"", key, "\" is \"", found, "\"; expected ", first, " to ", last);
  }

 private:
  const Json& at(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) data_error(where_, ": no \"", key, "\"");
    return *found;
  }

  std::string where_;
  Json value_;
};

/// What `make` makes of the first lines of a .jsonl file; empty lines are passed over.
template <class Make>
auto read_lines(const std::filesystem::path& file, int64_t limit, const Make& make) {
  std::vector<decltype(make(std::declval<const Line&>()))> items;
  const MappedFile map(file);
  std::string_view rest = map.text();
  for (int64_t number = 1; !rest.empty() && (limit == 0 || static_cast<int64_t>(items.size()) < limit); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!trim(line).empty()) items.push_back(make(Line(line, cat(file.string(), ":", number))));
  }
  if (items.empty()) data_error(file.string(), ": has no items; expected one JSON object a line");
  return items;
}

std::string after_blank(std::string_view text) {
  return std::string(1, ' ').append(text);
}

/// Takes out every stretch from "[" to the next "]" on the same line.
std::string without_brackets(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t start = std::min(text.find('['), text.size());
    const size_t end = text.find_first_of("]\n", start);
    result.append(text, 0, start);
    text.remove_prefix(start);
    if (end == std::string_view::npos) return result.append(text);
    const size_t length = end - start + 1;
    if (text[length - 1] == '\n') result.append(text, 0, length);
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace

std::string clean_hellaswag(const std::string& text) {
  return replace_all(without_brackets(replace_all(trim(text), " [title]", ". ")), "  ", " ");
}

std::vector<ChoiceItem> read_hellaswag(const std::filesystem::path& file, int64_t limit) {
  return read_lines(file, limit, [](const Line& line) {
    ChoiceItem item;
    const std::string context = line.text("ctx_a") + after_blank(capitalize(line.text("ctx_b")));
    item.contexts.push_back(clean_hellaswag(line.text("activity_label").append(": ").append(context)));
    for (const std::string& ending : line.texts("endings"))
      item.continuations.push_back(after_blank(clean_hellaswag(ending)));
    if (item.continuations.size() < 2) data_error(line.where(), ": expected at least two endings");
    item.right = line.number("label", 0, item.continuations.size() - 1);
    return item;
  });
}

std::vector<ChoiceItem> read_winogrande(const std::filesystem::path& file, int64_t limit) {
  return read_lines(file, limit, [](const Line& line) {
    ChoiceItem item;
    const std::string sentence = line.text("sentence");
    const size_t gap = sentence.find('_');
    if (gap == std::string::npos) data_error(line.where(), ": no _ in the sentence \"", sentence, "\"");
    for (const char* option : {"option1", "option2"})
      item.contexts.push_back(sentence.substr(0, gap) + line.text(option));
    item.continuations.push_back(after_blank(trim(std::string_view(sentence).substr(gap + 1))));
    item.right = line.number("answer", 1, 2) - 1;
    return item;
  });
}

std::vector<LambadaItem> read_lambada(const std::filesystem::path& file, int64_t limit) {
  return read_lines(file, limit, [](const Line& line) {
    const std::string text = line.text("text");
    const size_t space = text.rfind(' ');
    if (space == std::string::npos) data_error(line.where(), ": one word only; expected a context and a last word");
    return LambadaItem{text.substr(0, space), text.substr(space)};
  });
}

std::vector<std::string> wikitext_pages(const std::string& text) {
  std::vector<std::string> pages(1);
  bool first = true;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    const std::string flat = replace_all(replace_all(line, "= = =", "==="), "= =", "==");
    const std::string_view heading = trim(flat);
    if (heading.starts_with("= ") && heading.ends_with(" =")) {
      if (trim(pages.back()).empty()) pages.pop_back();
      pages.emplace_back();
      first = true;
    }
    if (!first) pages.back() += '\n';
    pages.back() += line;
    first = false;
    start = end + 1;
  }
  return pages;
}

std::string wikitext_detokenize(const std::string& page) {
  using Rule = std::pair<const char*, const char*>;
  // Number separators, then punctuation.
  static constexpr Rule spacing[] = {{"s '", "s'"}, {" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "},
                                     {" ; ", "; "}, {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
  static constexpr std::pair<char, char> pairs[] = {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}};
  // Headings, degrees, line ends, and two oddities of the corpus.
  static constexpr Rule rest[] = {{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \u00b0 ", "\u00b0"},
                                  {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};
  std::string text = page;
  for (const auto& [from, to] : spacing) text = replace_all(text, from, to);
  for (const auto& [open, close] : pairs) text = tighten(text, open, close);
  for (const auto& [from, to] : rest) text = replace_all(text, from, to);
  return text;
}

}  // namespace xinslm
