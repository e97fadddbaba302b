#pragma once
#include <memory>
#include <string>
#include <vector>

#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

struct ChatMessage {
  std::string role;  ///< system, developer, user, assistant or tool
  std::string content;
  std::string channel = {};  ///< analysis, commentary or final; empty: final for the assistant, none for others
};

struct ChatTokens {
  std::vector<TokenId> ids;
  std::vector<bool> learned;  ///< true where the loss counts: the assistant's words and the token that ends them
};

/// Turns messages into tokens and knows where an answer ends. Harmony (openai/harmony docs/format.md).
class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;
  /// Whole dialogue for training.
  virtual ChatTokens dialogue(const std::vector<ChatMessage>& messages) const = 0;
  /// Tokens that the next message adds to the conversation so far. first = nothing precedes it.
  virtual std::vector<TokenId> message(const ChatMessage& message, bool first) const = 0;
  /// Tokens that make the model answer, for example "<|start|>assistant<|channel|>final<|message|>".
  virtual std::vector<TokenId> answer_prefix() const = 0;
  /// Tokens that end an answer.
  virtual std::vector<TokenId> stop_tokens() const = 0;
  /// Tokens written after a finished answer kept in the history (harmony: <|end|>).
  virtual std::vector<TokenId> answer_suffix() const = 0;
};

/// The harmony template when the tokenizer has its special tokens, else nullptr (a base model that continues text).
/// reasoning_effort is a line of the system message and may be empty.
std::unique_ptr<ChatTemplate> make_chat_template(std::shared_ptr<const Tokenizer> tokenizer,
                                                 const std::string& reasoning_effort = "");

}  // namespace xinslm
