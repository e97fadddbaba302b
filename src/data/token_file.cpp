#include "xinslm/data/token_file.h"

#include <algorithm>
#include <cstring>

#include "token_header.h"
#include "xinslm/core/error.h"

namespace xinslm {

std::vector<int32_t> token_byte_lengths(const Tokenizer& tokenizer) {
  std::vector<int32_t> lengths(tokenizer.vocab_size());
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    lengths[id] = tokenizer.is_special(id) ? 0 : static_cast<int32_t>(tokenizer.token_bytes(id).size());
  }
  return lengths;
}

TokenFile::TokenFile(const std::filesystem::path& path, const std::string& key) : file_(path), key_(key) {
  const auto content = file_.bytes();
  const auto damaged = [&](const std::string& what) {
    data_error(path.string(), ": is not a usable token file: ", what);
  };
  TokenHeader header;
  const TokenHeader expected;
  if (content.size() < sizeof header) damaged(cat("only ", content.size(), " bytes"));
  std::memcpy(&header, content.data(), sizeof header);
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) damaged("wrong first bytes");
  // Bounds first, so that a nonsense count cannot overflow the sum.
  if (header.tokens > content.size() || header.documents > content.size() ||
      (header.id_bytes != 2 && header.id_bytes != 4) || header.file_size() != content.size()) {
    damaged(cat("its size of ", content.size(), " bytes does not fit its header"));
  }
  if (key.size() != sizeof header.key || std::memcmp(header.key, key.data(), key.size()) != 0) damaged("other key");
  const auto* payload = reinterpret_cast<const uint8_t*>(content.data()) + sizeof header;
  const uLong checksum = ::crc32_z(::crc32_z(0, nullptr, 0), payload, content.size() - sizeof header);
  if (header.checksum != header.checksum_with(checksum)) damaged("wrong checksum");

  documents_ = static_cast<int64_t>(header.documents);
  tokens_ = static_cast<int64_t>(header.tokens);
  wide_ = header.id_bytes == 4;
  ids_ = payload;
  begins_ = reinterpret_cast<const uint64_t*>(payload + header.padded_id_bytes());
  bytes_ = begins_ + documents_ + 1;
  words_ = bytes_ + documents_;
  hashes_ = words_ + documents_;
  if (header.has_mask) mask_ = reinterpret_cast<const uint8_t*>(hashes_ + documents_);
}

void TokenFile::split(int64_t document, int64_t token, int64_t bytes, int64_t words) {
  const auto insert_after = [&](std::vector<uint64_t>& own, const uint64_t*& values, int64_t count, uint64_t value) {
    if (values != own.data()) own.assign(values, values + count);
    own.insert(own.begin() + document + 1, value);
    values = own.data();
  };
  insert_after(own_begins_, begins_, documents_ + 1, static_cast<uint64_t>(token));
  insert_after(own_bytes_, bytes_, documents_, static_cast<uint64_t>(bytes));
  insert_after(own_words_, words_, documents_, static_cast<uint64_t>(words));
  insert_after(own_hashes_, hashes_, documents_, hashes_[document]);
  own_bytes_[document] -= static_cast<uint64_t>(bytes);
  own_words_[document] -= static_cast<uint64_t>(words);
  ++documents_;
}

void TokenFile::read(int64_t begin, int64_t count, int64_t* ids) const {
  if (wide_) {
    std::copy_n(static_cast<const uint32_t*>(ids_) + begin, count, ids);
  } else {
    std::copy_n(static_cast<const uint16_t*>(ids_) + begin, count, ids);
  }
}

}  // namespace xinslm
