#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "xinslm/generate/generator.h"
#include "xinslm/tokenizer/chat_template.h"

namespace xinslm {

/// True when the model was trained to answer: the token that ends its texts (eos_token_id) is one that ends a message
/// of the chat format. Base models end with <|endoftext|>.
bool has_chat_format(const ModelConfig& config, std::shared_ptr<const Tokenizer> tokenizer);

/// A conversation: messages, the tokens they became, and a generator whose cache follows them, so that a turn computes
/// only what is new. A model without a chat format gets the typed lines as text to continue.
class ChatSession {
 public:
  using ShowText = std::function<bool(const std::string&)>;

  /// The model must outlive the session.
  /// @param chat_format  false = continue text, whatever the tokenizer could do
  /// @param kv_type  what keys and values are kept in; without it default_kv_type()
  /// @throws Error(data) when a chat format is asked for that the tokenizer has no tokens for
  ChatSession(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer, bool chat_format,
              std::optional<at::ScalarType> kv_type = {});
  ~ChatSession();

  /// False for a base model, which continues text instead of answering.
  bool has_template() const { return template_ != nullptr; }

  /// Adds the user's message and generates the answer. The stop tokens of the chat format are added to those in
  /// `options`; the seed is mixed with the number of the answer, so that every turn draws anew.
  /// @throws Error(usage) when the message alone does not fit into the model; the conversation is then as before
  GenerateResult ask(const std::string& text, const GenerateOptions& options, const ShowText& on_text = {});

  /// Puts another answer in the place of the last one, which stays where that fails. @throws Error(usage) when there is
  /// none
  GenerateResult retry(const GenerateOptions& options, const ShowText& on_text = {});

  /// Drops the last question and its answer. @return false when there is none
  bool undo();
  /// Forgets everything but the system message.
  void reset();

  /// Replaces the system message ("" = none) from the beginning of the conversation on.
  void set_system(const std::string& text);
  const std::string& system() const { return system_; }
  /// Sets the effort line of the chat format: low, medium, high or "" (none).
  void set_effort(const std::string& effort);
  const std::string& effort() const { return effort_; }

  /// The conversation, the system message first where there is one.
  std::vector<ChatMessage> messages() const;
  /// Writes {"messages": [{"role", "content"}, ...], "reasoning_effort"} atomically. @throws Error(data)
  void save(const std::filesystem::path& file) const;
  /// Replaces the conversation. @throws Error(data) naming the file and the message that is wrong; nothing is then
  /// changed
  void load(const std::filesystem::path& file);

  /// Messages at the beginning that no longer fit into the model and are left out of what it sees.
  int64_t left_out() const { return static_cast<int64_t>(first_); }
  int64_t tokens() const;
  const Generator& generator() const { return generator_; }

 private:
  struct Entry {
    ChatMessage message;
    std::vector<TokenId> ids;  // of an answer: those that were generated, so that the cache fits
  };
  GenerateResult answer(const GenerateOptions& options, const ShowText& on_text);
  std::vector<TokenId> encode(const ChatMessage& message, bool first) const;
  std::vector<TokenId> opening() const;
  std::vector<TokenId> prompt() const;
  void keep_answer(const GenerateResult& result);
  template <class Work>
  auto whole_or_nothing(const Work& work);
  void fit(int64_t room);
  void encode_again();

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<ChatTemplate> template_;
  Generator generator_;
  std::vector<TokenId> text_ends_;
  std::string system_, effort_;
  std::vector<Entry> entries_;  // without the system message
  size_t first_ = 0;            // entries before it are left out
  uint64_t answers_ = 0;
};

}  // namespace xinslm
