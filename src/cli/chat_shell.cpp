#include "xinslm/cli/chat_shell.h"

#include <charconv>
#include <cmath>

#include "config/nearest.h"
#include "xinslm/cli/generation_json.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"

namespace xinslm::cli {
namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

double number(const char* command, const std::string& text) {
  size_t used = 0;
  double value = std::nan("");
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size()) usage_error(command, ": \"", text, "\" is not a number");
  return value;
}

}  // namespace

ChatShell::ChatShell(ChatSession& session, const GenerateOptions& options, std::ostream& out, std::ostream& notes)
    : session_(session), options_(options), out_(out), notes_(notes) {}

const ChatShell::Entry* ChatShell::entries(size_t& count) {
  static constexpr Entry all[] = {
      {"/help", "", "this list", &ChatShell::help},
      {"/system", "[TEXT]", "shows or sets the system message", &ChatShell::system},
      {"/effort", "[low|medium|high]", "shows or sets the reasoning effort", &ChatShell::effort},
      {"/temp", "[T]", "shows or sets the temperature; 0 = always the most probable token", &ChatShell::temperature},
      {"/top_p", "[P]", "shows or sets top-p", &ChatShell::top_p},
      {"/experts", "[N]", "shows or sets the experts a token may use", &ChatShell::experts},
      {"/retry", "", "another answer to the last question", &ChatShell::retry},
      {"/undo", "", "forgets the last question and its answer", &ChatShell::undo},
      {"/reset", "", "forgets the conversation", &ChatShell::reset},
      {"/save", "FILE", "writes the conversation as JSON", &ChatShell::save},
      {"/load", "FILE", "goes on with a conversation that was saved", &ChatShell::load},
      {"/stats", "", "tokens, memory and speeds", &ChatShell::stats},
      {"/quit", "", "ends the chat, as Ctrl-D does", &ChatShell::quit},
  };
  count = std::size(all);
  return all;
}

bool ChatShell::handle(const std::string& line) {
  const std::string text = trimmed(line);
  if (text.empty()) return true;
  try {
    if (text.front() == '/') {
      command(text);
    } else {
      answer([&](const ChatSession::ShowText& show) { return session_.ask(line, options_, show); });
    }
  } catch (const Error& problem) {
    notes_ << problem.what() << std::endl;
  }
  return !ended_;
}

void ChatShell::command(const std::string& line) {
  const size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string name = line.substr(0, end), argument = trimmed(line.substr(end));
  std::vector<std::string> names;
  size_t count = 0;
  for (const Entry* entry = entries(count); count > 0; ++entry, --count) {
    if (name != entry->name) {
      names.emplace_back(entry->name);
      continue;
    }
    if (*entry->argument == '\0' && !argument.empty()) usage_error(name, " takes nothing after it");
    return (this->*entry->run)(argument);
  }
  usage_error("no command ", name, suggestion(name, names), "; /help lists them");
}

void ChatShell::answer(const std::function<GenerateResult(const ChatSession::ShowText&)>& generate) {
  const GenerateResult result = generate([&](const std::string& piece) {
    out_ << piece << std::flush;
    return static_cast<bool>(out_);
  });
  out_ << std::endl;
  last_ = result;
  ++answers_;
  if (result.finish_reason == "length")
    notes_ << "(cut after " << options_.max_tokens << " tokens, see --max-tokens)\n";
  if (result.finish_reason == "context") notes_ << "(cut: the model's length is used up)\n";
  if (result.finish_reason == "interrupted") notes_ << "(stopped)\n";
  if (session_.left_out() > left_out_) {
    notes_ << "(the oldest " << session_.left_out() << " messages no longer fit into the model and are left out)\n";
  }
  left_out_ = session_.left_out();
  notes_ << std::flush;
}

void ChatShell::help(const std::string&) {
  size_t count = 0;
  for (const Entry* entry = entries(count); count > 0; ++entry, --count) {
    std::string left = cat(entry->name, " ", entry->argument);
    left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
    notes_ << left << entry->help << "\n";
  }
  notes_ << "Ctrl-C stops an answer.\n";
}

void ChatShell::system(const std::string& argument) {
  if (argument.empty()) {
    notes_ << (session_.system().empty() ? "no system message" : session_.system()) << "\n";
    return;
  }
  if (!session_.has_template()) usage_error("/system: a base model continues text and has no system message");
  session_.set_system(argument);
}

void ChatShell::effort(const std::string& argument) {
  if (argument.empty()) {
    notes_ << "effort: " << (session_.effort().empty() ? "as trained" : session_.effort()) << "\n";
    return;
  }
  options_.num_experts_per_tok = session_.generator().model().config().experts_at(argument);
  session_.set_effort(argument);
}

void ChatShell::temperature(const std::string& argument) {
  if (!argument.empty()) {
    SamplingOptions changed = options_.sampling;
    changed.temperature = number("/temp", argument);
    validate(changed);
    options_.sampling = changed;
  }
  notes_ << "temperature: " << options_.sampling.temperature << "\n";
}

void ChatShell::top_p(const std::string& argument) {
  if (!argument.empty()) {
    SamplingOptions changed = options_.sampling;
    changed.top_p = number("/top_p", argument);
    validate(changed);
    options_.sampling = changed;
  }
  notes_ << "top-p: " << options_.sampling.top_p << "\n";
}

void ChatShell::experts(const std::string& argument) {
  const ModelConfig& config = session_.generator().model().config();
  if (!argument.empty()) {
    const double wanted = number("/experts", argument);
    if (wanted < 1 || wanted > static_cast<double>(config.num_experts) || wanted != std::floor(wanted)) {
      usage_error("/experts: ", argument, " is not a whole number from 1 to ", config.num_experts);
    }
    options_.num_experts_per_tok = static_cast<int64_t>(wanted);
  }
  const int64_t used = options_.num_experts_per_tok > 0 ? options_.num_experts_per_tok : config.num_experts_per_tok;
  notes_ << "experts per token: " << used << " of " << config.num_experts << "\n";
}

void ChatShell::retry(const std::string&) {
  answer([&](const ChatSession::ShowText& show) { return session_.retry(options_, show); });
}

void ChatShell::undo(const std::string&) {
  notes_ << (session_.undo() ? "forgot the last question and its answer\n" : "there is nothing to undo\n");
}

void ChatShell::reset(const std::string&) {
  session_.reset();
  left_out_ = 0;
  notes_ << "a new conversation\n";
}

void ChatShell::save(const std::string& argument) {
  if (argument.empty()) usage_error("/save needs the name of a file");
  session_.save(argument);
  notes_ << "saved to " << argument << "\n";
}

void ChatShell::load(const std::string& argument) {
  if (argument.empty()) usage_error("/load needs the name of a file");
  session_.load(argument);
  left_out_ = 0;
  notes_ << session_.messages().size() << " messages from " << argument << "\n";
}

void ChatShell::stats(const std::string&) {
  const Generator& generator = session_.generator();
  notes_ << session_.tokens() << " of " << generator.model().config().max_position_embeddings
         << " tokens in the conversation, " << generator.cached_tokens() << " of them in the cache ("
         << fixed(static_cast<double>(generator.cache_bytes()) / (1 << 20), 1) << " MiB)\n";
  if (answers_ > 0) notes_ << "last answer: " << speed_line(last_) << "\n";
}

void ChatShell::quit(const std::string&) {
  ended_ = true;
}

}  // namespace xinslm::cli
