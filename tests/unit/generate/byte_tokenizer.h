#pragma once
#include <ATen/Parallel.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// A token a byte, then the special tokens: what a test can count by hand.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr std::array<const char*, 7> specials = {"<|endoftext|>", "<|start|>",  "<|end|>", "<|message|>",
                                                          "<|channel|>",   "<|return|>", "<|call|>"};

  /// @param chat  with the tokens of the chat format, else with <|endoftext|> alone
  explicit ByteTokenizer(bool chat = true) : count_(chat ? specials.size() : 1) {}

  int64_t vocab_size() const override { return 256 + static_cast<int64_t>(count_); }

  std::vector<TokenId> encode(std::string_view text, bool allow_special) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      TokenId id = static_cast<unsigned char>(text.front());
      size_t length = 1;
      for (size_t i = 0; allow_special && i < count_; ++i) {
        if (!text.starts_with(specials[i])) continue;
        id = static_cast<TokenId>(256 + i);
        length = std::string_view(specials[i]).size();
      }
      ids.push_back(id);
      text.remove_prefix(length);
    }
    return ids;
  }

  std::string token_bytes(TokenId id) const override {
    if (id < 0 || id >= vocab_size()) usage_error("token ", id);
    return id < 256 ? std::string(1, static_cast<char>(id)) : specials[static_cast<size_t>(id) - 256];
  }

  std::optional<TokenId> special_id(std::string_view name) const override {
    for (size_t i = 0; i < count_; ++i) {
      if (name == specials[i]) return static_cast<TokenId>(256 + i);
    }
    return std::nullopt;
  }

  bool is_special(TokenId id) const override { return id >= 256; }
  void save(const std::filesystem::path&) const override {}
  std::string fingerprint() const override { return "bytes"; }

 private:
  size_t count_;
};

inline ModelConfig tiny_config(int64_t positions = 96) {
  ModelConfig config;
  config.vocab_size = 263;
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.num_experts = 4;
  config.num_experts_per_tok = 2;
  config.intermediate_size = 24;
  config.max_position_embeddings = positions;
  config.sliding_window = 8;
  config.initializer_range = 0.3;  // far from uniform, so that tests can tell tokens apart
  return config;
}

inline Transformer tiny_model(const ModelConfig& config = tiny_config(), uint64_t seed = 7) {
  at::set_num_threads(1);  // waiting for each other would cost these sizes more than they compute
  return Transformer(config, at::kCPU, at::kFloat, seed);
}

}  // namespace xinslm
