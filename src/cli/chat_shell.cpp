#include "xinslm/cli/chat_shell.h"

#include <algorithm>

#include "config/fields.h"
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

[[noreturn]] void reject_unknown(const std::string& name, const std::vector<std::string>& names) {
  usage_error("no command ", name, suggestion(name, names),
              "; /help lists them, and a message that begins with a slash ", "is written with two: /", name);
}

}  // namespace

ChatShell::ChatShell(ChatSession& session, const GenerateOptions& options, std::ostream& out, std::ostream& notes,
                     bool interactive)
    : session_(session), options_(options), out_(out), notes_(notes), interactive_(interactive) {}

std::span<const ChatShell::Entry> ChatShell::entries() {
  static constexpr Entry all[] = {
      {"/help", "", "this list", &ChatShell::help},
      {"/system", "[TEXT]", "shows or sets the system message", &ChatShell::system},
      {"/effort", "[low|medium|high]", "shows or sets the reasoning effort", &ChatShell::effort},
      {"/temp", "[T]", "shows or sets the temperature; 0 = always the most probable token", &ChatShell::temperature},
      {"/top_k", "[K]", "shows or sets top-k; 0 = all", &ChatShell::top_k},
      {"/top_p", "[P]", "shows or sets top-p", &ChatShell::top_p},
      {"/min_p", "[P]", "shows or sets min-p", &ChatShell::min_p},
      {"/penalty", "[R]", "shows or sets the repetition penalty; 1 = none", &ChatShell::penalty},
      {"/max_tokens", "[N]", "shows or sets the longest answer in tokens", &ChatShell::max_tokens},
      {"/experts", "[N]", "shows or sets the experts a token may use", &ChatShell::experts},
      {"/retry", "", "another answer to the last question", &ChatShell::retry},
      {"/undo", "", "forgets the last question and its answer", &ChatShell::undo},
      {"/reset", "", "forgets the conversation", &ChatShell::reset},
      {"/save", "FILE", "writes the conversation as JSON", &ChatShell::save},
      {"/load", "FILE", "goes on with a conversation that was saved", &ChatShell::load},
      {"/stats", "", "tokens, memory and speeds", &ChatShell::stats},
      {"/quit", "", "ends the chat, as Ctrl-D does", &ChatShell::quit},
  };
  return all;
}

const ChatShell::Entry* ChatShell::find(const std::string& name) {
  for (const Entry& entry : entries()) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

std::vector<std::string> ChatShell::names() {
  std::vector<std::string> all;
  for (const Entry& entry : entries()) all.emplace_back(entry.name);
  return all;
}

bool ChatShell::handle(const std::string& line) {
  const std::string text = trimmed(line);
  if (text.empty()) return true;
  const size_t end = std::min(text.find_first_of(" \t"), text.size());
  const bool is_command = text.front() == '/' && !text.starts_with("//");
  const Entry* entry = is_command ? find(text.substr(0, end)) : nullptr;
  try {
    if (is_command && entry == nullptr) reject_unknown(text.substr(0, end), names());
    if (is_command) {
      command(*entry, trimmed(text.substr(end)));
    } else {
      send(text.front() == '/' ? text.substr(1) : line);
    }
  } catch (const std::exception& problem) {
    if (is_command && entry == nullptr && !interactive_) throw;
    const std::string message = problem.what();
    notes_ << message.substr(0, message.find('\n')) << std::endl;
  }
  return !ended_;
}

void ChatShell::command(const Entry& entry, const std::string& argument) {
  if (*entry.argument == '\0' && !argument.empty()) usage_error(entry.name, " takes nothing after it");
  (this->*entry.run)(argument);
}

void ChatShell::send(const std::string& message) {
  answer([&](const ChatSession::ShowText& show) { return session_.ask(message, options_, show); });
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
  for (const Entry& entry : entries()) {
    std::string left = cat(entry.name, " ", entry.argument);
    left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
    notes_ << left << entry.help << "\n";
  }
  notes_ << "A message that begins with a slash is typed with two: //. Ctrl-C stops an answer.\n";
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

/// Shows or sets one of the numbers that a configuration has too, within the same bounds.
void ChatShell::setting(const char* command, const char* key, const std::string& argument) {
  GenerationSettings settings = options_.sampling.settings();
  settings.max_tokens = options_.max_tokens;
  std::string name = key;
  std::ranges::replace(name, '_', '-');
  if (!argument.empty()) set_generation(settings, key, argument, cat(command, ": ", name));
  options_.sampling.take(settings);
  options_.max_tokens = settings.max_tokens > 0 ? settings.max_tokens : default_chat_tokens;
  settings.max_tokens = options_.max_tokens;
  notes_ << name << ": " << generation_text(settings, key) << "\n";
}

void ChatShell::temperature(const std::string& argument) {
  setting("/temp", "temperature", argument);
}
void ChatShell::top_k(const std::string& argument) {
  setting("/top_k", "top_k", argument);
}
void ChatShell::top_p(const std::string& argument) {
  setting("/top_p", "top_p", argument);
}
void ChatShell::min_p(const std::string& argument) {
  setting("/min_p", "min_p", argument);
}
void ChatShell::penalty(const std::string& argument) {
  setting("/penalty", "repetition_penalty", argument);
}
void ChatShell::max_tokens(const std::string& argument) {
  setting("/max_tokens", "max_tokens", argument);
}

void ChatShell::experts(const std::string& argument) {
  const ModelConfig& config = session_.generator().model().config();
  if (!argument.empty()) {
    int64_t wanted = 0;
    const Rule rule = between(1, static_cast<double>(config.num_experts));
    set_value({"/experts", "", "", rule, &wanted}, YAML::Node(argument), "");
    options_.num_experts_per_tok = wanted;
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
  const ModelConfig& config = session_.generator().model().config();
  options_.num_experts_per_tok = session_.effort().empty() ? 0 : config.experts_at(session_.effort());
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
