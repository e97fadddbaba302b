#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

// What we use of the SentencePiece library. It brings a protobuf of its own, and a LibTorch that links the system's (as
// Debian's does) crashes when both lie in one space of names. So it sits in a module with a space of its own, opened
// when it is first needed; nothing else includes its headers.
namespace xinslm {

/// A loaded tokenizer.model; may be shared between threads.
class SentencePieceModel {
 public:
  virtual ~SentencePieceModel() = default;
  /// @return what went wrong, empty when nothing did
  virtual std::string encode(std::string_view text, std::vector<int>& ids) const = 0;
  virtual int unknown_id() const = 0;
};

/// Training text, line by line.
class SentencePieceLines {
 public:
  virtual ~SentencePieceLines() = default;
  virtual bool done() const = 0;
  virtual void next() = 0;
  virtual const std::string& value() const = 0;
};

class SentencePieceLibrary {
 public:
  virtual ~SentencePieceLibrary() = default;
  /// @param problem  becomes what went wrong when nothing is returned
  virtual std::unique_ptr<SentencePieceModel> load(const std::string& serialized, std::string& problem) const = 0;
  /// @param settings  names and values of SentencePiece's trainer
  /// @return          what went wrong, empty when nothing did
  virtual std::string train(const std::unordered_map<std::string, std::string>& settings, SentencePieceLines& lines,
                            std::string& serialized) const = 0;
};

/// @throws Error(runtime) when the module cannot be opened
const SentencePieceLibrary& sentencepiece_library();

}  // namespace xinslm
