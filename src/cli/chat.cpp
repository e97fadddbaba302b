#include <iostream>
#include <memory>

#include "cli/line_reader.h"
#include "xinslm/cli/chat_shell.h"
#include "xinslm/cli/command.h"
#include "xinslm/cli/common.h"
#include "xinslm/cli/render.h"
#include "xinslm/core/error.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/log.h"
#include "xinslm/generate/chat_session.h"

namespace xinslm::cli {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  xinslm chat\n"
    "  xinslm chat --model runs/chat/model --system \"Answer briefly.\" --temperature 0.7\n"
    "  printf 'Hello!\\nHow are you?\\n' | xinslm chat --model runs/chat/model --seed 1\n"
    "Each line is a message, without its end. /help inside the chat lists its commands; a message that begins with a\n"
    "slash is written with two.";

struct ChatOptions {
  ModelOptions model;
  SamplingFlags sampling;
  std::string system, format = "auto";
};

bool wants_chat_format(const ChatOptions& options, const OpenModel& open) {
  if (options.format == "none") return false;
  if (options.format == "harmony") return true;
  return has_chat_format(open.model.config(), open.tokenizer);
}

void greet(const ChatSession& session, const OpenModel& open) {
  std::cerr << open.folder.string() << ": ";
  if (session.has_template()) {
    std::cerr << "type a message";
  } else {
    std::cerr << "a base model without a chat format, which continues the text you type";
  }
  std::cerr << (stdin_is_terminal() ? "; /help lists the commands" : "") << std::endl;
}

void chat(const ChatOptions& options) {
  const OpenModel open = open_model(options.model);
  const GenerateOptions generate = options.sampling.resolved(open, default_chat_tokens);
  ChatSession session(open.model, open.tokenizer, wants_chat_format(options, open), kv_type(options.model));
  if (!options.system.empty() && !session.has_template()) {
    usage_error("--system: ", open.folder.string(), " is a base model, which continues text and has no system message");
  }
  session.set_system(options.system);
  session.set_effort(options.model.effort);
  greet(session, open);

  const InterruptGuard guard(stdin_is_terminal() ? InterruptGuard::Signals::ctrl_c : InterruptGuard::Signals::all);
  ChatShell shell(session, generate, std::cout, std::cerr, stdin_is_terminal());
  LineReader reader;
  while (const auto line = reader.read("> ")) {
    if (!shell.handle(*line)) return;
    if (InterruptGuard::requested() && !stdin_is_terminal()) break;
    InterruptGuard::clear();
  }
  InterruptGuard::check();
}

}  // namespace

void add_chat(CLI::App& program) {
  CLI::App* command = program.add_subcommand("chat", "talk with a model");
  const auto options = std::make_shared<ChatOptions>();
  add_model_options(*command, options->model);
  add_kv_option(*command, options->model);
  add_sampling_options(*command, options->sampling);
  command->add_option("--system", options->system, "system message")->type_name("TEXT");
  command->add_option("--format", options->format, "auto (as the model was trained), harmony, or none = continue text")
      ->type_name("NAME")
      ->check(CLI::IsMember({"auto", "harmony", "none"}))
      ->capture_default_str();
  command->footer(examples);
  command->callback([options] { chat(*options); });
}

}  // namespace xinslm::cli
