#include "tokenizer/sentencepiece_library.h"

#include <dlfcn.h>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

// Sanitizers refuse a name space of its own; with them SentencePiece and LibTorch share one.
#if defined(RTLD_DEEPBIND) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr int kOwnNames = RTLD_DEEPBIND;
#else
constexpr int kOwnNames = 0;
#endif

const SentencePieceLibrary& open_library() {
  // A bare name is looked for where the library or program that asks was told to look when it was linked.
#ifdef __APPLE__
  constexpr const char* name = "@rpath/" XINSLM_SENTENCEPIECE_MODULE;
#else
  constexpr const char* name = XINSLM_SENTENCEPIECE_MODULE;
#endif
  void* module = ::dlopen(name, RTLD_NOW | RTLD_LOCAL | kOwnNames);
  if (module == nullptr)
    runtime_failure("cannot open the SentencePiece module: ", ::dlerror(), "; install xinslm again");
  using Entry = const SentencePieceLibrary* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(module, "xinslm_sentencepiece_library"));
  if (entry == nullptr)
    runtime_failure("the SentencePiece module is not ours: ", ::dlerror(), "; install xinslm again");
  return *entry();
}

}  // namespace

const SentencePieceLibrary& sentencepiece_library() {
  static const SentencePieceLibrary& library = open_library();
  return library;
}

}  // namespace xinslm
