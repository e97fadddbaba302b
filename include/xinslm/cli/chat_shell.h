#pragma once
#include <cstdint>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "xinslm/generate/chat_session.h"

namespace xinslm::cli {

constexpr int64_t default_chat_tokens = 512;  ///< longest answer where nobody has said how long

/// Turns lines into answers and commands (/help lists them). Answers go to `out`, everything else to `notes`; a mistake
/// in a line is told and leaves the conversation as it was. A line that begins with // is a message with one slash.
class ChatShell {
 public:
  /// Both streams and the session must outlive the shell.
  /// @param options        of every answer; the commands change them
  /// @param interactive    a person types the lines and can correct them; else an unknown command, which may have been
  ///                       meant as a message, is an error
  ChatShell(ChatSession& session, const GenerateOptions& options, std::ostream& out, std::ostream& notes,
            bool interactive = true);

  /// @return false after /quit
  /// @throws Error(usage) for an unknown command where nobody is there to correct it
  bool handle(const std::string& line);

  const GenerateOptions& options() const { return options_; }

 private:
  using Command = void (ChatShell::*)(const std::string& argument);
  struct Entry {
    const char* name;
    const char* argument;  // shown by /help
    const char* help;
    Command run;
  };
  static std::span<const Entry> entries();
  static const Entry* find(const std::string& name);
  static std::vector<std::string> names();

  void command(const Entry& entry, const std::string& argument);
  void send(const std::string& message);
  void answer(const std::function<GenerateResult(const ChatSession::ShowText&)>& generate);

  void help(const std::string& argument);
  void system(const std::string& argument);
  void effort(const std::string& argument);
  void temperature(const std::string& argument);
  void top_k(const std::string& argument);
  void top_p(const std::string& argument);
  void min_p(const std::string& argument);
  void penalty(const std::string& argument);
  void max_tokens(const std::string& argument);
  void setting(const char* command, const char* key, const std::string& argument);
  void experts(const std::string& argument);
  void retry(const std::string& argument);
  void undo(const std::string& argument);
  void reset(const std::string& argument);
  void save(const std::string& argument);
  void load(const std::string& argument);
  void stats(const std::string& argument);
  void quit(const std::string& argument);

  ChatSession& session_;
  GenerateOptions options_;
  std::ostream& out_;
  std::ostream& notes_;
  bool interactive_;
  GenerateResult last_;
  int64_t answers_ = 0, left_out_ = 0;
  bool ended_ = false;
};

}  // namespace xinslm::cli
