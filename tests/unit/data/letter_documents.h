#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "data_test.h"
#include "xinslm/data/token_file.h"

namespace xinslm {

/// A token file of documents that tell their tokens apart.
class LetterDocuments : public DataTest {
 protected:
  /// Documents 0..n-1; document i holds letters that tell it and the place in it apart.
  void make(int documents) {
    std::string text;
    for (int i = 0; i < documents; ++i) {
      for (int j = 0; j <= (i * 7) % 23; ++j) text += cat(static_cast<char>('A' + i), static_cast<char>('a' + j));
      text += "\n<|endoftext|>\n";
    }
    CorpusOptions options;
    options.inputs = {write("a.txt", text)};
    options.separator = "<|endoftext|>";
    file_ = open_tokens(options, tokenizer_, folder_, 1, "test");
    all_.resize(file_->documents());
    for (size_t i = 0; i < all_.size(); ++i) all_[i] = static_cast<int64_t>(i);
  }
  static std::vector<int64_t> flat(const at::Tensor& tensor) {
    return {tensor.data_ptr<int64_t>(), tensor.data_ptr<int64_t>() + tensor.numel()};
  }
  std::vector<int64_t> file_tokens() const {
    std::vector<int64_t> ids(file_->tokens());
    file_->read(0, file_->tokens(), ids.data());
    return ids;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<FakeTokenizer>();
  std::shared_ptr<const TokenFile> file_;
  std::vector<int64_t> all_;
};

}  // namespace xinslm
