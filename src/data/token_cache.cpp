#include <chrono>
#include <cstdlib>

#include "document_readers.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/hash.h"
#include "xinslm/core/json.h"
#include "xinslm/core/log.h"
#include "xinslm/data/builtin_corpus.h"
#include "xinslm/data/token_file.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Raised whenever the same text and tokenizer would give other tokens or another layout.
constexpr int kCacheVersion = 2;

constexpr uintmax_t kBigFile = 16 << 20;

/// Remembers the hashes of big files by name, size and time of change, so that they need not be read whole each time.
class HashMemory {
 public:
  explicit HashMemory(const fs::path& folder) : path_(folder / "file-hashes.json") {
    try {
      if (fs::exists(path_)) known_ = read_json(path_);
    } catch (const Error&) {
      known_ = nullptr;  // only a memory: what is unreadable is computed again
    }
    if (!known_.is_object()) known_ = Json::object();
  }

  std::string hash(const fs::path& file) {
    const fs::path name = fs::absolute(file);
    const auto time = fs::last_write_time(file);
    const Json state = {fs::file_size(file), time.time_since_epoch().count()};
    if (fs::file_size(file) < kBigFile) return sha256_file(file);
    if (const auto found = known_.find(name.string()); found != known_.end() && found->is_object() &&
                                                       found->value("state", Json()) == state &&
                                                       found->value("sha256", "").size() == 64) {
      return found->at("sha256");
    }
    const std::string hash = sha256_file(file);
    // A file changed this moment could change again within the clock's resolution: not remembered.
    const bool settled = fs::file_time_type::clock::now() - time > std::chrono::seconds(2);
    const Json state_after = {fs::file_size(file), fs::last_write_time(file).time_since_epoch().count()};
    if (settled && state == state_after) {
      known_[name.string()] = Json{{"state", state}, {"sha256", hash}};
      write_json(path_, known_);
    }
    return hash;
  }

 private:
  fs::path path_;
  Json known_;
};

std::string tokens_key(const CorpusOptions& corpus, const Tokenizer& tokenizer, const fs::path& folder) {
  Json parts = {kCacheVersion, tokenizer.fingerprint(), corpus.max_bytes};
  if (corpus.is_builtin()) {
    parts.push_back({"builtin", builtin_fingerprint(), corpus.builtin_documents, corpus.builtin_seed});
  } else {
    parts.push_back({corpus.separator, corpus.line_end});
    if (corpus.skip_bad_lines) parts.push_back("skip_bad_lines");
    HashMemory memory(folder);
    for (const fs::path& file : corpus_files(corpus.inputs)) {
      parts.push_back({memory.hash(file), holds_json_lines(file, corpus.format)});
    }
  }
  return sha256(dump_json(parts));
}

}  // namespace

fs::path cache_folder(const std::string& cache_dir) {
  if (!cache_dir.empty()) return cache_dir;
  const auto variable = [](const char* name) { return std::getenv(name) != nullptr ? std::getenv(name) : ""; };
  if (const fs::path cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "xinslm";
  const fs::path home = variable("HOME");
  if (home.empty()) return temporary_folder() / "xinslm-cache";
#ifdef __APPLE__
  return home / "Library" / "Caches" / "xinslm";
#else
  return home / ".cache" / "xinslm";
#endif
}

std::shared_ptr<const TokenFile> open_tokens(const CorpusOptions& corpus, std::shared_ptr<const Tokenizer> tokenizer,
                                             const fs::path& cache_dir, int threads, const std::string& what) {
  const std::string key = tokens_key(corpus, *tokenizer, cache_dir);
  const fs::path path = cache_dir / ("tokens-" + key.substr(0, 24) + ".bin");
  if (fs::exists(path)) {
    try {
      return std::make_shared<TokenFile>(path, key);
    } catch (const Error& problem) {
      log::warning(cat(problem.what(), "; it is made again"));
    }
  }
  log::info(cat("tokenising the ", what, " text into ", path.string()));
  const auto reader = open_corpus(corpus);
  write_token_file(path, key, *reader, tokenizer, threads);
  if (const BadLines bad = reader->bad_lines(); bad.count > 0) log::warning(cat("the ", what, " text: ", bad.text()));
  if (tokens_key(corpus, *tokenizer, cache_dir) != key) {
    std::error_code ignored;
    fs::remove(path, ignored);
    data_error("the ", what, " text changed while it was read; wait until its files are complete, then start again");
  }
  return std::make_shared<TokenFile>(path, key);
}

}  // namespace xinslm
