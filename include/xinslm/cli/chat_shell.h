#pragma once
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "xinslm/generate/chat_session.h"

namespace xinslm::cli {

/// Turns lines into answers and commands (/help lists them). Answers go to `out`, everything else to `notes`; a mistake
/// in a line is told and leaves the conversation as it was.
class ChatShell {
 public:
  /// Both streams and the session must outlive the shell.
  /// @param options        of every answer; the commands change them
  ChatShell(ChatSession& session, const GenerateOptions& options, std::ostream& out, std::ostream& notes);

  /// @return false after /quit
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
  static const Entry* entries(size_t& count);

  void command(const std::string& line);
  void answer(const std::function<GenerateResult(const ChatSession::ShowText&)>& generate);

  void help(const std::string& argument);
  void system(const std::string& argument);
  void effort(const std::string& argument);
  void temperature(const std::string& argument);
  void top_p(const std::string& argument);
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
  GenerateResult last_;
  int64_t answers_ = 0, left_out_ = 0;
  bool ended_ = false;
};

}  // namespace xinslm::cli
