#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "tokenizer/sentencepiece_library.h"

namespace xinslm {
namespace {

class Model : public SentencePieceModel {
 public:
  std::string load(const std::string& serialized) { return problem(processor_.LoadFromSerializedProto(serialized)); }
  std::string encode(std::string_view text, std::vector<int>& ids) const override {
    return problem(processor_.Encode(text, &ids));
  }
  int unknown_id() const override { return processor_.unk_id(); }

  static std::string problem(const sentencepiece::util::Status& status) {
    return status.ok() ? std::string() : status.ToString();
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(SentencePieceLines& lines) : lines_(lines) {}
  bool done() const override { return lines_.done(); }
  void Next() override { lines_.next(); }
  const std::string& value() const override { return lines_.value(); }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  SentencePieceLines& lines_;
};

class Library : public SentencePieceLibrary {
 public:
  std::unique_ptr<SentencePieceModel> load(const std::string& serialized, std::string& problem) const override {
    auto model = std::make_unique<Model>();
    problem = model->load(serialized);
    if (!problem.empty()) return nullptr;
    return model;
  }

  std::string train(const std::unordered_map<std::string, std::string>& settings, SentencePieceLines& lines,
                    std::string& serialized) const override {
    Lines iterator(lines);
    return Model::problem(sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &serialized));
  }
};

}  // namespace
}  // namespace xinslm

extern "C" const xinslm::SentencePieceLibrary* xinslm_sentencepiece_library() {
  static const xinslm::Library library;
  return &library;
}
