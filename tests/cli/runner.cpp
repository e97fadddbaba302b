// Runs one text file of commands and expectations (see README.md here) in a fresh folder and says what differs.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

constexpr auto time_limit = std::chrono::seconds(300);

struct Expectation {
  int line;
  std::string stream;  // "stdout", "stderr" or the name of a file
  std::string how;     // "is", "contains", "lacks" or "matches"
  std::string text;
};

struct Step {
  int line = 0;
  std::string command, input;
  int exit_code = 0;
  std::vector<Expectation> expectations;
};

struct Outcome {
  int exit_code = -1;
  bool timed_out = false;
  std::string out, err;
};

std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("no file " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_all(const fs::path& path, const std::string& text) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

/// The parsed test: files written before anything runs, then the commands in their order.
class TestFile {
 public:
  explicit TestFile(const fs::path& path) {
    std::istringstream in(read_all(path));
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
    while (at_ < lines_.size()) parse_line();
  }

  std::vector<std::pair<std::string, std::string>> files;
  std::vector<Step> steps;

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw std::runtime_error("line " + std::to_string(at_ + 1) + ": " + problem);
  }

  /// The lines indented by two spaces that follow the current one.
  std::string block() {
    std::string text, blank;
    while (at_ + 1 < lines_.size()) {
      const std::string& next = lines_[at_ + 1];
      if (next.empty()) {
        blank += '\n';
      } else if (next.starts_with("  ")) {
        text += blank + next.substr(2) + '\n';
        blank.clear();
      } else {
        break;
      }
      ++at_;
    }
    return text;
  }

  Step& step() {
    if (steps.empty()) fail("an expectation before the first command");
    return steps.back();
  }

  void parse_line() {
    static const std::regex expectation(R"((stdout|stderr|file (\S+)) (is|contains|lacks|matches):(?: (.*))?)");
    static const std::regex given(R"(given (\S+):)");
    const std::string line = lines_[at_];
    std::smatch match;
    if (line.empty() || line[0] == '#') {
      // a comment
    } else if (line.starts_with("$ ")) {
      steps.push_back({static_cast<int>(at_ + 1), line.substr(2), "", 0, {}});
    } else if (line.starts_with("exit ")) {
      step().exit_code = std::stoi(line.substr(5));
    } else if (line == "stdin:") {
      step().input = block();
    } else if (std::regex_match(line, match, given)) {
      files.emplace_back(match[1], block());
    } else if (std::regex_match(line, match, expectation)) {
      const int number = static_cast<int>(at_ + 1);
      const std::string stream = match[2].matched ? match[2] : match[1], how = match[3];
      std::string text = match[4].matched ? match[4].str() : block();
      if (how == "is" && match[4].matched) text += '\n';
      step().expectations.push_back({number, stream, how, text});
    } else {
      fail("not understood: " + line);
    }
    ++at_;
  }

  std::vector<std::string> lines_;
  size_t at_ = 0;
};

/// Runs the command by the shell with files for its three streams; stops its whole process group at the time limit.
Outcome run(const Step& step, const fs::path& streams) {
  write_all(streams / "in", step.input);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot start a process");
  if (child == 0) {
    ::setpgid(0, 0);
    ::dup2(::open((streams / "in").c_str(), O_RDONLY), 0);
    ::dup2(::open((streams / "out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
    ::dup2(::open((streams / "err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
    ::execl("/bin/sh", "sh", "-c", step.command.c_str(), nullptr);
    ::_exit(127);
  }
  Outcome outcome;
  const auto deadline = std::chrono::steady_clock::now() + time_limit;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      outcome.timed_out = true;
      ::kill(-child, SIGKILL);
      ::waitpid(child, &status, 0);
      break;
    }
    ::poll(nullptr, 0, 10);
  }
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = read_all(streams / "out");
  outcome.err = read_all(streams / "err");
  return outcome;
}

bool holds(const Expectation& expected, const std::string& text) {
  if (expected.how == "is") return text == expected.text;
  if (expected.how == "matches") return std::regex_search(text, std::regex(expected.text));
  const std::string_view wanted = std::string_view(expected.text).substr(0, expected.text.find_last_not_of('\n') + 1);
  return (text.find(wanted) != std::string::npos) == (expected.how == "contains");
}

/// What is wrong with the outcome, one line each; empty when all is as expected.
std::string problems(const Step& step, const Outcome& outcome) {
  std::ostringstream out;
  if (outcome.timed_out)
    out << "line " << step.line << ": not finished after " << time_limit.count() << " s\n";
  else if (outcome.exit_code != step.exit_code)
    out << "line " << step.line << ": exit code " << outcome.exit_code << ", expected " << step.exit_code << '\n';
  for (const Expectation& expected : step.expectations) {
    const std::string text = expected.stream == "stdout"   ? outcome.out
                             : expected.stream == "stderr" ? outcome.err
                                                           : read_all(expected.stream);
    if (!holds(expected, text))
      out << "line " << expected.line << ": " << expected.stream << " does not hold: " << expected.how << ": "
          << expected.text << '\n';
  }
  return out.str();
}

/// Runs all steps in the folder. @return true when everything was as expected
bool run_test(const fs::path& file, const fs::path& folder, const fs::path& streams) {
  const TestFile test(file);
  if (test.steps.empty()) throw std::runtime_error("no command in it");
  fs::current_path(folder);
  for (const auto& [name, content] : test.files) write_all(name, content);
  for (const Step& step : test.steps) {
    const Outcome outcome = run(step, streams);
    const std::string wrong = problems(step, outcome);
    if (wrong.empty()) continue;
    std::cout << file.string() << '\n'
              << "$ " << step.command << '\n'
              << wrong << "--- stdout\n"
              << outcome.out << "--- stderr\n"
              << outcome.err << "---\n";
    return false;
  }
  std::cout << test.steps.size() << " commands as expected\n";
  return true;
}

fs::path temporary_folder() {
  std::string name = (fs::temp_directory_path() / "xinslm_cli_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder " + name);
  return name;
}

}  // namespace

/// runner PROGRAM FILE [FOLDER]: with a folder the test runs there and what it makes stays, for other tests to use.
int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: runner PROGRAM FILE.test [FOLDER]\n";
    return 2;
  }
  const fs::path scratch = temporary_folder();
  bool passed = false;
  try {
    const fs::path program = fs::absolute(argv[1]), file = fs::absolute(argv[2]);
    const fs::path folder = argc == 4 ? fs::absolute(argv[3]) : scratch / "work";
    const fs::path home = scratch / "home";
    if (argc == 4) fs::remove_all(folder);
    for (const fs::path& needed : {folder, home, scratch / "streams"}) fs::create_directories(needed);
    ::setenv("PATH", (program.parent_path().string() + ":" + ::getenv("PATH")).c_str(), 1);
    ::setenv("HOME", home.c_str(), 1);
    passed = run_test(file, folder, scratch / "streams");
  } catch (const std::exception& problem) {
    std::cout << argv[2] << ": " << problem.what() << '\n';
  }
  fs::current_path("/");
  fs::remove_all(scratch);
  return passed ? 0 : 1;
}
