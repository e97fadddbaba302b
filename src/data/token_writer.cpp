#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "token_header.h"
#include "xinslm/core/error.h"
#include "xinslm/core/random.h"
#include "xinslm/data/token_file.h"

namespace xinslm {
namespace {

constexpr size_t kBlockBytesPerThread = 1 << 21;

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

int64_t count_words(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (char c : text) {
    words += !inside && !is_space(c);
    inside = !is_space(c);
  }
  return words;
}

struct Encoded {
  std::vector<TokenId> ids;
  std::vector<bool> learned;  ///< empty = all
  int64_t bytes = 0, words = 0;
};

/// Turns parts of documents into tokens.
class Encoder {
 public:
  explicit Encoder(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)),
        chat_(make_chat_template(tokenizer_)),
        lengths_(token_byte_lengths(*tokenizer_)) {}

  Encoded encode(const DocumentPart& part) const {
    Encoded encoded;
    if (part.messages.empty()) {
      encoded.ids = tokenizer_->encode(part.text);
      encoded.words = count_words(part.text);
    } else {
      if (!chat_)
        data_error(part.where, ": is a dialogue, but the tokenizer has no tokens for messages (<|start|>, ...)");
      ChatTokens tokens = chat_->dialogue(part.messages);
      encoded.ids = std::move(tokens.ids);
      encoded.learned = std::move(tokens.learned);
      for (const ChatMessage& message : part.messages) encoded.words += count_words(message.content);
    }
    for (TokenId id : encoded.ids) encoded.bytes += lengths_.at(id);
    if (part.messages.empty() && encoded.bytes != static_cast<int64_t>(part.text.size())) {
      runtime_failure(part.where, ": the tokenizer turns ", part.text.size(), " bytes into tokens of ", encoded.bytes,
                      " bytes; losses per byte would be wrong");
    }
    return encoded;
  }

  /// All parts, shared out over the threads.
  std::vector<Encoded> encode(const std::vector<DocumentPart>& parts, int threads) const {
    std::vector<Encoded> encoded(parts.size());
    std::atomic<size_t> next = 0;
    std::exception_ptr failure;
    std::mutex failure_lock;
    const auto work = [&] {
      try {
        for (size_t i = next++; i < parts.size(); i = next++) encoded[i] = encode(parts[i]);
      } catch (...) {
        next = parts.size();
        const std::lock_guard lock(failure_lock);
        if (!failure) failure = std::current_exception();
      }
    };
    std::vector<std::thread> pool;
    for (int i = 1; i < threads; ++i) pool.emplace_back(work);
    work();
    for (std::thread& thread : pool) thread.join();
    if (failure) std::rethrow_exception(failure);
    return encoded;
  }

  TokenId end_of_text() const { return tokenizer_->end_of_text(); }
  bool wide() const { return tokenizer_->vocab_size() > 1 << 16; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<ChatTemplate> chat_;
  std::vector<int32_t> lengths_;
};

class Writer {
 public:
  Writer(const std::filesystem::path& path, const std::string& key, const Encoder& encoder)
      : file_(path), end_of_text_(encoder.end_of_text()) {
    header_.id_bytes = encoder.wide() ? 4 : 2;
    std::memcpy(header_.key, key.data(), sizeof header_.key);
    file_.write(&header_, sizeof header_);
  }

  void add(const DocumentPart& part, const Encoded& encoded) {
    if (!open_) {
      begins_.push_back(header_.tokens);
      bytes_.push_back(0);
      words_.push_back(0);
      hashes_.push_back(document_hash(part));
    }
    add_ids(encoded.ids, encoded.learned);
    bytes_.back() += static_cast<uint64_t>(encoded.bytes);
    words_.back() += static_cast<uint64_t>(encoded.words);
    // A word that two parts share is one word.
    if (open_ && ends_in_word_ && !part.text.empty() && !is_space(part.text.front())) --words_.back();
    ends_in_word_ = !part.text.empty() && !is_space(part.text.back());
    open_ = !part.last;
    if (part.last) add_ids({end_of_text_}, part.messages.empty() ? std::vector<bool>{} : std::vector<bool>{false});
  }

  void finish() {
    begins_.push_back(header_.tokens);
    header_.documents = bytes_.size();
    header_.has_mask = !mask_.empty();
    if (header_.has_mask) mask_.resize((header_.tokens + 7) / 8, 0xff);
    const uint64_t padding = 0;
    write(&padding, header_.padded_id_bytes() - header_.tokens * header_.id_bytes);
    for (const auto* list : {&begins_, &bytes_, &words_, &hashes_}) write(list->data(), list->size() * 8);
    write(mask_.data(), mask_.size());
    header_.checksum = header_.checksum_with(checksum_);
    file_.rewrite_start(&header_, sizeof header_);
    file_.commit();
  }

 private:
  void write(const void* data, size_t size) {
    if (size == 0) return;
    checksum_ = ::crc32_z(checksum_, static_cast<const Bytef*>(data), size);
    file_.write(data, size);
  }

  void add_ids(const std::vector<TokenId>& ids, const std::vector<bool>& learned) {
    // No mask until the first dialogue: what came before is learned.
    if (!learned.empty() && mask_.empty()) mask_.assign(header_.tokens / 8 + 1, 0xff);
    if (!mask_.empty()) {
      mask_.resize((header_.tokens + ids.size()) / 8 + 1, 0xff);
      for (size_t i = 0; i < learned.size(); ++i) {
        const uint64_t token = header_.tokens + i;
        if (!learned[i]) mask_[token / 8] &= static_cast<uint8_t>(~(1u << (token % 8)));
      }
    }
    if (header_.id_bytes == 4) {
      const std::vector<uint32_t> wide(ids.begin(), ids.end());
      write(wide.data(), wide.size() * 4);
    } else {
      const std::vector<uint16_t> narrow(ids.begin(), ids.end());
      write(narrow.data(), narrow.size() * 2);
    }
    header_.tokens += ids.size();
  }

  AtomicFile file_;
  TokenId end_of_text_;
  TokenHeader header_;
  uLong checksum_ = ::crc32_z(0, nullptr, 0);
  std::vector<uint64_t> begins_, bytes_, words_, hashes_;
  std::vector<uint8_t> mask_;
  bool open_ = false, ends_in_word_ = false;
};

}  // namespace

uint64_t document_hash(const DocumentPart& first) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, spread over all bits at the end
  const auto add = [&](std::string_view text) {
    for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ 0x100) * 0x100000001b3;
  };
  add(first.text);
  for (const ChatMessage& message : first.messages) {
    add(message.role);
    add(message.content);
  }
  return mix_seed({hash});
}

void write_token_file(const std::filesystem::path& path, const std::string& key, DocumentReader& reader,
                      std::shared_ptr<const Tokenizer> tokenizer, int threads) {
  const Encoder encoder(std::move(tokenizer));
  Writer writer(path, key, encoder);
  std::vector<DocumentPart> parts;
  for (bool more = true; more;) {
    parts.clear();
    size_t size = 0;
    for (DocumentPart part; size < kBlockBytesPerThread * threads && (more = reader.next(part));) {
      size += part.size();
      parts.push_back(std::move(part));
    }
    const auto encoded = encoder.encode(parts, threads);
    for (size_t i = 0; i < parts.size(); ++i) writer.add(parts[i], encoded[i]);
  }
  writer.finish();
}

}  // namespace xinslm
