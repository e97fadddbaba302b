// translate LIBRARY COMMON SOURCE OUTPUT: a Metal library as C++ for the simulator. The text stays as it is but for
// - arrays in threadgroup memory, which become references into the simulator's: all threads of a group see one array;
// - the names and attributes of kernel parameters, which are listed in front: C++ ignores attributes it does not know;
// - kernels that are no templates, which are registered at the end (templates are by KERNEL_AS).
#include <algorithm>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::string read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A source with the headers of its folder that it includes by "name" in their places.
std::string with_headers(const std::string& path) {
  static const std::regex include("(?:^|\n)#include \"([^\"\n]+)\"");
  std::string text = "#line 1 \"" + path + "\"\n" + read(path);
  std::smatch found;
  while (std::regex_search(text, found, include)) {
    const std::string header = path.substr(0, path.rfind('/') + 1) + found[1].str();
    const auto line = std::count(text.cbegin(), found[1].first, '\n') + 1;  // the first line of text is not of the file
    text = found.prefix().str() + "\n" + with_headers(header) + "\n#line " + std::to_string(line) + " \"" + path +
           "\"" + found.suffix().str();
  }
  return text;
}

/// Comments as blanks, lines and places kept.
std::string without_comments(std::string text) {
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
      continue;
    }
    const bool is_line = text.compare(i, 2, "//") == 0;
    if (!is_line && text.compare(i, 2, "/*") != 0) continue;
    const size_t found = text.find(is_line ? "\n" : "*/", i + 2);
    const size_t end = found == std::string::npos ? text.size() : found + (is_line ? 0 : 2);
    for (; i < end; ++i) {
      if (text[i] != '\n') text[i] = ' ';
    }
  }
  return text;
}

std::string with_threadgroup_arrays(const std::string& text) {
  static const std::regex declaration(
      R"(\bthreadgroup\s+([A-Za-z_][\w:<>, ]*?)\s+([A-Za-z_]\w*)\s*((?:\[[^;]*\])?)\s*;)");
  std::string out;
  auto rest = text.cbegin();
  int count = 0;
  for (std::sregex_iterator i(text.begin(), text.end(), declaration), end; i != end; ++i) {
    const std::string type = (*i)[1], name = (*i)[2], sizes = (*i)[3];
    out.append(rest, (*i)[0].first);
    out += "typedef " + type + " " + name + "_array" + sizes + "; " + name + "_array& " + name + " = *static_cast<" +
           name + "_array*>(simulator::threadgroup_array(" + std::to_string(count++) + ", sizeof(" + name +
           "_array), metal::grain<" + type + ">::bytes, \"" + name + "\"));";
    rest = (*i)[0].second;
  }
  return out.append(rest, text.cend());
}

/// The text in front of the bracket that closes the one at `open`, cut at commas outside of inner brackets.
std::vector<std::string> parameters_at(const std::string& text, size_t open) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (size_t i = open + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ')' && depth == 0) return parts;
    depth += (c == '(' || c == '[' || c == '<') - (c == ')' || c == ']' || c == '>');
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  throw std::runtime_error("a kernel's parameters do not end");
}

struct Found {
  std::string tables, registrations;
};

Found kernels_of(const std::string& text) {
  static const std::regex head(R"(\bkernel\s+void\s+(\w+)\s*\()");
  static const std::regex parameter(R"((\w+)\s*\[\[\s*(\w+)\s*(?:\(\s*(\d+)\s*\))?\s*\]\]\s*$)");
  Found found;
  std::set<std::string> names;
  for (std::sregex_iterator i(text.begin(), text.end(), head), end; i != end; ++i) {
    const std::string name = (*i)[1];
    if (!names.insert(name).second) throw std::runtime_error("kernel " + name + " is there twice");
    found.tables += "const simulator::Parameter " + name + "_parameters[] = {\n";
    for (const std::string& part : parameters_at(text, i->position() + i->length() - 1)) {
      std::smatch m;
      if (!std::regex_search(part, m, parameter)) {
        throw std::runtime_error("kernel " + name + ": parameter without name and [[attribute]]: " + part);
      }
      found.tables +=
          "    {\"" + m[1].str() + "\", \"" + m[2].str() + "\", " + (m[3].matched ? m[3].str() : "-1") + "},\n";
    }
    found.tables += "};\n";
    size_t before = text.find_last_not_of(" \n\t", i->position() - 1);
    if (before != std::string::npos && text[before] == ']') {  // an attribute
      before = text.find_last_not_of(" \n\t", text.rfind("[[", before) - 1);
    }
    if (before == std::string::npos || text[before] != '>') found.registrations += "PLAIN_KERNEL(" + name + ")\n";
  }
  return found;
}

}  // namespace

int main(int count, char** words) try {
  if (count != 5) throw std::runtime_error("usage: translate LIBRARY COMMON SOURCE OUTPUT");
  const std::string library = words[1];
  const std::string text = without_comments(with_headers(words[2]) + "\n" + with_headers(words[3]));
  const Found kernels = kernels_of(text);
  std::ofstream out(words[4]);
  out << "#include <metal_stdlib>\nnamespace {\nconst char library_name[] = \"" << library << "\";\n"
      << kernels.tables << with_threadgroup_arrays(text) << "\n"
      << kernels.registrations << "}\n";
  return out.flush() ? 0 : 1;
} catch (const std::exception& e) {
  std::cerr << (count > 3 ? words[3] : "translate") << ": " << e.what() << "\n";
  return 1;
}
