#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// Bytes are tokens 0..255; "the" is one token of three bytes; special tokens follow.
class FakeTokenizer : public Tokenizer {
 public:
  explicit FakeTokenizer(bool harmony = true, int64_t vocab_size = 300) : harmony_(harmony), vocab_size_(vocab_size) {}

  int64_t vocab_size() const override { return vocab_size_; }

  std::vector<TokenId> encode(std::string_view text, bool allow_special) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      const auto special =
          std::find_if(names_.begin(), names_.end(), [&](auto name) { return text.starts_with(name); });
      if (allow_special && special != names_.end()) {
        ids.push_back(257 + static_cast<TokenId>(special - names_.begin()));
        text.remove_prefix(special->size());
      } else {
        const bool the = text.starts_with("the");
        ids.push_back(the ? 256 : static_cast<unsigned char>(text[0]));
        text.remove_prefix(the ? 3 : 1);
      }
    }
    return ids;
  }
  std::string token_bytes(TokenId id) const override {
    if (id == 256) return "the";
    if (is_special(id)) return std::string(names_[id - 257]);
    return std::string(1, static_cast<char>(id));
  }
  std::optional<TokenId> special_id(std::string_view name) const override {
    const size_t known = harmony_ ? names_.size() : 1;
    const auto found = std::find(names_.begin(), names_.begin() + known, name);
    if (found == names_.begin() + known) return std::nullopt;
    return 257 + static_cast<TokenId>(found - names_.begin());
  }
  bool is_special(TokenId id) const override { return id >= 257 && id < 257 + static_cast<TokenId>(names_.size()); }
  void save(const std::filesystem::path& folder) const override {
    write_file(folder / "tokenizer.fake", fingerprint());
  }
  std::string fingerprint() const override { return cat("fake ", harmony_, ' ', vocab_size_); }

 private:
  bool harmony_;
  int64_t vocab_size_;
  std::vector<std::string_view> names_ = {"<|endoftext|>", "<|return|>",  "<|call|>",    "<|start|>",
                                          "<|end|>",       "<|message|>", "<|channel|>", "<|constrain|>"};
};

constexpr TokenId kEndOfText = 257;

}  // namespace xinslm
