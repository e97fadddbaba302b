#include "xinslm/generate/chat_session.h"

#include <algorithm>

#include "xinslm/core/error.h"
#include "xinslm/core/json.h"

namespace xinslm {
namespace {

void append(std::vector<TokenId>& ids, const std::vector<TokenId>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

bool is_answer(const ChatMessage& message) {
  return message.role == "assistant";
}

ChatMessage message_from_json(const Json& value, const std::string& where) {
  const auto text = [&](const char* key) {
    if (!value.is_object() || !value.contains(key) || !value.at(key).is_string()) {
      data_error(where, ": expected an object with the texts \"role\" and \"content\"");
    }
    return value.at(key).get<std::string>();
  };
  ChatMessage message{text("role"), text("content")};
  if (message.role != "system" && message.role != "user" && message.role != "assistant") {
    data_error(where, ": role is \"", message.role, "\"; expected system, user or assistant");
  }
  return message;
}

/// The effort that was saved; "" where none was.
std::string effort_from_json(const Json& saved, const std::string& where) {
  const auto found = saved.find("reasoning_effort");
  if (found == saved.end() || found->is_null() || *found == "") return "";
  for (const char* known : {"low", "medium", "high"}) {
    if (*found == known) return known;
  }
  data_error(where, ": reasoning_effort is ", dump_json(*found), "; expected low, medium, high or an empty text");
}

}  // namespace

bool has_chat_format(const ModelConfig& config, std::shared_ptr<const Tokenizer> tokenizer) {
  const auto format = make_chat_template(std::move(tokenizer));
  if (!format) return false;
  const std::vector<TokenId> stops = format->stop_tokens();
  const std::vector<int64_t> ends = config.eos_token_ids();
  return std::ranges::find_first_of(stops, ends) != stops.end();
}

ChatSession::ChatSession(const Transformer& model, std::shared_ptr<const Tokenizer> tokenizer, bool chat_format,
                         std::optional<at::ScalarType> kv_type)
    : tokenizer_(tokenizer),
      template_(chat_format ? make_chat_template(tokenizer) : nullptr),
      generator_(model, tokenizer, kv_type),
      text_ends_(text_ends(model.config(), *tokenizer)) {
  if (chat_format && !template_) data_error("the model's tokenizer has no tokens for a chat format");
}

ChatSession::~ChatSession() = default;

/// What precedes the first message the model sees.
std::vector<TokenId> ChatSession::opening() const {
  if (!template_) return {tokenizer_->end_of_text()};
  return system_.empty() ? std::vector<TokenId>{} : template_->message({"system", system_}, true);
}

std::vector<TokenId> ChatSession::encode(const ChatMessage& message, bool first) const {
  if (template_) return template_->message(message, first && system_.empty());
  return tokenizer_->encode(first || is_answer(message) ? message.content : "\n" + message.content);
}

std::vector<TokenId> ChatSession::prompt() const {
  std::vector<TokenId> ids = opening();
  for (size_t i = first_; i < entries_.size(); ++i) append(ids, entries_[i].ids);
  if (template_) append(ids, template_->answer_prefix());
  return ids;
}

int64_t ChatSession::tokens() const {
  return entries_.empty() ? 0 : static_cast<int64_t>(prompt().size());
}

/// Leaves out the oldest exchanges until the conversation and `room` more tokens fit. Once something has to go, half of
/// the model's length is freed, so that the cache is not computed anew at every turn.
void ChatSession::fit(int64_t room) {
  const int64_t context = generator_.model().config().max_position_embeddings;
  const int64_t wanted = std::min(room, context / 4);
  if (tokens() + wanted < context) return;
  const size_t last_question = entries_.size() - 1;
  while (first_ < last_question && tokens() + wanted >= context / 2) {
    do ++first_;
    while (first_ < last_question && is_answer(entries_[first_].message));
    entries_[first_].ids = encode(entries_[first_].message, true);
  }
}

/// The model goes on from what was shown, as it would from the conversation saved and loaded: from the tokens that were
/// generated where they are the text, so that the cache fits, and from those of the text where a stop text cut it.
void ChatSession::keep_answer(const GenerateResult& result) {
  Entry entry{{"assistant", result.text}, {}};
  if (template_) entry.ids = template_->answer_prefix();
  append(entry.ids, result.stopped_by_text ? tokenizer_->encode(result.text) : result.ids());
  if (template_) append(entry.ids, template_->answer_suffix());
  entries_.push_back(std::move(entry));
}

/// Does something that may fail; the conversation is then as before.
template <class Work>
auto ChatSession::whole_or_nothing(const Work& work) {
  const std::vector<Entry> entries = entries_;
  const size_t first = first_;
  try {
    return work();
  } catch (...) {
    entries_ = entries;
    first_ = first;
    throw;
  }
}

GenerateResult ChatSession::answer(const GenerateOptions& options, const ShowText& on_text) {
  GenerateOptions all = options;
  append(all.stop_tokens, text_ends_);
  if (template_) append(all.stop_tokens, template_->stop_tokens());
  all.sampling.seed = mix_seed({options.sampling.seed, answers_++});
  fit(options.max_tokens);
  GenerateResult result = generator_.generate(prompt(), all, on_text);
  keep_answer(result);
  return result;
}

GenerateResult ChatSession::ask(const std::string& text, const GenerateOptions& options, const ShowText& on_text) {
  const ChatMessage message{"user", text};
  return whole_or_nothing([&] {
    entries_.push_back({message, encode(message, entries_.size() == first_)});
    return answer(options, on_text);
  });
}

GenerateResult ChatSession::retry(const GenerateOptions& options, const ShowText& on_text) {
  if (entries_.empty() || !is_answer(entries_.back().message)) usage_error("there is no answer yet to try again");
  if (entries_.size() == 1) usage_error("there is no question before this answer");
  return whole_or_nothing([&] {
    entries_.pop_back();
    return answer(options, on_text);
  });
}

bool ChatSession::undo() {
  if (entries_.empty()) return false;
  while (!entries_.empty() && is_answer(entries_.back().message)) entries_.pop_back();
  if (!entries_.empty()) entries_.pop_back();
  if (first_ > 0 && first_ >= entries_.size()) {
    first_ = 0;
    encode_again();
  }
  return true;
}

void ChatSession::reset() {
  entries_.clear();
  first_ = 0;
}

void ChatSession::encode_again() {
  for (size_t i = 0; i < entries_.size(); ++i) entries_[i].ids = encode(entries_[i].message, i == first_);
}

void ChatSession::set_system(const std::string& text) {
  system_ = text;
  encode_again();
}

void ChatSession::set_effort(const std::string& effort) {
  effort_ = effort;
  if (template_) template_ = make_chat_template(tokenizer_, effort);
  encode_again();
}

std::vector<ChatMessage> ChatSession::messages() const {
  std::vector<ChatMessage> all;
  if (!system_.empty()) all.push_back({"system", system_});
  for (const Entry& entry : entries_) all.push_back(entry.message);
  return all;
}

void ChatSession::save(const std::filesystem::path& file) const {
  Json list = Json::array();
  for (const ChatMessage& message : messages()) list.push_back({{"role", message.role}, {"content", message.content}});
  write_json(file, {{"messages", list}, {"reasoning_effort", effort_}});
}

void ChatSession::load(const std::filesystem::path& file) {
  const Json saved = read_json(file);
  if (!saved.is_object() || !saved.contains("messages") || !saved.at("messages").is_array()) {
    data_error(file.string(), ": expected {\"messages\": [...]}, as /save writes it");
  }
  std::string system;
  std::vector<Entry> entries;
  size_t number = 0;
  for (const Json& value : saved.at("messages")) {
    const std::string where = cat(file.string(), ": message ", ++number);
    const ChatMessage message = message_from_json(value, where);
    if (message.role != "system") {
      entries.push_back({message, {}});
    } else if (number == 1) {
      system = message.content;
    } else {
      data_error(where, ": a system message can only be the first");
    }
  }
  if (!entries.empty() && !is_answer(entries.back().message)) {
    data_error(file.string(), ": the conversation ends with a question; the last message must be the assistant's");
  }
  const std::string effort = effort_from_json(saved, file.string());
  entries_ = std::move(entries);
  first_ = 0;
  system_ = system;
  set_effort(effort);
}

}  // namespace xinslm
