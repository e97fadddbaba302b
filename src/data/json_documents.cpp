#include <algorithm>

#include "document_readers.h"
#include "xinslm/core/error.h"
#include "xinslm/core/json.h"

namespace xinslm {
namespace {

constexpr size_t kLongestLine = size_t{1} << 30;

ChatMessage message_from(const Json& value, const std::string& where) {
  const auto text = [&](const char* key) {
    if (!value.is_object() || !value.contains(key) || !value[key].is_string()) {
      data_error(where, ": a message is {\"role\": text, \"content\": text}, found ", dump_json(value).substr(0, 80));
    }
    return value[key].get<std::string>();
  };
  ChatMessage message{text("role"), text("content")};
  static const std::vector<std::string> roles = {"system", "developer", "user", "assistant", "tool"};
  if (std::find(roles.begin(), roles.end(), message.role) == roles.end()) {
    data_error(where, ": role is \"", message.role, "\", expected system, developer, user, assistant or tool");
  }
  return message;
}

class JsonLinesReader : public DocumentReader {
 public:
  JsonLinesReader(const std::filesystem::path& path, BadLines* skipped) : lines_(path), skipped_(skipped) {}

  bool next(DocumentPart& part) override {
    while (given_ == text_.size()) {
      if (!read_line()) return false;
      if (messages_.empty()) continue;
      part = {"", std::move(messages_), true, where_};
      messages_.clear();
      return true;
    }
    const size_t size = cut_point(std::string_view(text_).substr(given_), kPartBytes);
    part = {text_.substr(given_, size), {}, given_ + size == text_.size(), where_};
    given_ += size;
    return true;
  }

 private:
  bool read_line() {
    LineReader::Piece piece;
    if (!lines_.next(piece, kLongestLine)) return false;
    where_ = cat(lines_.path().string(), ":", piece.line);
    text_.clear();
    messages_.clear();
    given_ = 0;
    if (skipped_ == nullptr) {
      take_line(piece);
      return true;
    }
    try {
      take_line(piece);
    } catch (const Error& problem) {
      skipped_->add(problem.what());
      messages_.clear();
      while (!piece.ends_line && lines_.next(piece, kLongestLine)) {
      }
    }
    return true;
  }

  /// @throws Error(data) naming file and line
  void take_line(const LineReader::Piece& piece) {
    if (!piece.ends_line) data_error(where_, ": the line is longer than 1 GiB");
    if (is_blank(piece.text)) return;
    const Json value = parse_json(piece.text, where_);
    if (value.is_object() && value.contains("messages")) {
      read_messages(value["messages"]);
    } else if (value.is_object() && value.contains("text") && value["text"].is_string()) {
      const auto& text = value["text"].get_ref<const std::string&>();
      if (!is_blank(text)) text_ = text;
    } else {
      data_error(where_, ": expected {\"text\": ...} or {\"messages\": [...]}, found ", dump_json(value).substr(0, 80));
    }
  }

  void read_messages(const Json& list) {
    if (!list.is_array() || list.empty()) data_error(where_, ": \"messages\" is not a list of at least one message");
    for (const Json& value : list) messages_.push_back(message_from(value, where_));
  }

  LineReader lines_;
  BadLines* skipped_;  ///< or nullptr
  std::string where_, text_;
  std::vector<ChatMessage> messages_;
  size_t given_ = 0;  ///< bytes of text_ already handed out
};

}  // namespace

std::unique_ptr<DocumentReader> read_json_lines(const std::filesystem::path& path, BadLines* skipped) {
  return std::make_unique<JsonLinesReader>(path, skipped);
}

}  // namespace xinslm
