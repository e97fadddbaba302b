#include "xinslm/tokenizer/chat_template.h"

#include <array>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

/// Tokens being put together, each with its mark for the loss.
class ChatWriter {
 public:
  explicit ChatWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void token(TokenId id, bool learned = false) {
    tokens_.ids.push_back(id);
    tokens_.learned.push_back(learned);
  }
  void text(std::string_view text, bool learned = false) {
    for (const TokenId id : tokenizer_.encode(text)) token(id, learned);
  }
  ChatTokens take() { return std::move(tokens_); }

 private:
  const Tokenizer& tokenizer_;
  ChatTokens tokens_;
};

/// <|start|>{role}[<|channel|>{channel}]<|message|>{text}<|end|>, nothing between messages (openai/harmony
/// docs/format.md).
class HarmonyTemplate : public ChatTemplate {
 public:
  HarmonyTemplate(std::shared_ptr<const Tokenizer> tokenizer, std::string reasoning_effort)
      : tokenizer_(std::move(tokenizer)), effort_(std::move(reasoning_effort)) {
    start_ = required("<|start|>");
    end_ = required("<|end|>");
    message_ = required("<|message|>");
    channel_ = required("<|channel|>");
    return_ = required("<|return|>");
    call_ = required("<|call|>");
  }

  static bool fits(const Tokenizer& tokenizer) {
    for (const char* name : {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"}) {
      if (!tokenizer.special_id(name)) return false;
    }
    return true;
  }

  ChatTokens dialogue(const std::vector<ChatMessage>& messages) const override {
    ChatWriter writer(*tokenizer_);
    for (size_t i = 0; i < messages.size(); ++i) {
      if (is_forgotten(messages, i)) continue;
      const bool calls = i + 1 < messages.size() && messages[i + 1].role == "tool";
      const bool last = i + 1 == messages.size();
      write(writer, messages[i], i == 0, calls ? call_ : last ? return_ : end_);
    }
    return writer.take();
  }

  std::vector<TokenId> message(const ChatMessage& message, bool first) const override {
    ChatWriter writer(*tokenizer_);
    write(writer, message, first, end_);
    return writer.take().ids;
  }

  std::vector<TokenId> answer_prefix() const override {
    ChatWriter writer(*tokenizer_);
    write_header(writer, "assistant", "final");
    return writer.take().ids;
  }

  // A final answer is complete at any of them: <|end|> is what closes the answers of earlier turns in training.
  std::vector<TokenId> stop_tokens() const override { return {return_, call_, end_}; }

  std::vector<TokenId> answer_suffix() const override { return {end_}; }

 private:
  TokenId required(const char* name) const { return tokenizer_->special_id(name).value(); }

  /// Analysis of a turn that has its final answer is not shown again in later turns.
  static bool is_forgotten(const std::vector<ChatMessage>& messages, size_t index) {
    if (messages[index].role != "assistant" || messages[index].channel != "analysis") return false;
    for (size_t i = index + 1; i + 1 < messages.size(); ++i) {
      if (messages[i].role == "assistant" && channel_of(messages[i]) == "final") return true;
    }
    return false;
  }

  static std::string channel_of(const ChatMessage& message) {
    if (!message.channel.empty()) return message.channel;
    if (message.role == "assistant") return "final";
    return message.role == "tool" ? "commentary" : "";
  }

  void write_header(ChatWriter& writer, std::string_view author, std::string_view channel) const {
    writer.token(start_);
    writer.text(author);
    if (!channel.empty()) {
      writer.token(channel_);
      writer.text(channel);
    }
    writer.token(message_);
  }

  /// @param closing  token after an assistant's message; all others end with <|end|>
  void write(ChatWriter& writer, const ChatMessage& message, bool first, TokenId closing) const {
    check_role(message.role);
    std::string content = message.content;
    if (first && !effort_.empty()) {
      const std::string line = "Reasoning: " + effort_;
      if (message.role == "system") {
        content += (content.empty() ? "" : "\n\n") + line;
      } else {
        write_header(writer, "system", "");
        writer.text(line);
        writer.token(end_);
      }
    }
    const bool assistant = message.role == "assistant";
    write_header(writer, message.role == "tool" ? "tool to=assistant" : message.role, channel_of(message));
    writer.text(content, assistant);
    writer.token(assistant ? closing : end_, assistant);
  }

  static void check_role(const std::string& role) {
    for (const char* known : {"system", "developer", "user", "assistant", "tool"}) {
      if (role == known) return;
    }
    data_error("message role is \"", role, "\", expected system, developer, user, assistant or tool");
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string effort_;
  TokenId start_, end_, message_, channel_, return_, call_;
};

}  // namespace

std::unique_ptr<ChatTemplate> make_chat_template(std::shared_ptr<const Tokenizer> tokenizer,
                                                 const std::string& reasoning_effort) {
  if (!HarmonyTemplate::fits(*tokenizer)) return nullptr;
  return std::make_unique<HarmonyTemplate>(std::move(tokenizer), reasoning_effort);
}

}  // namespace xinslm
