#pragma once
#include <zlib.h>

#include <cstdint>

namespace xinslm {

struct TokenHeader {
  char magic[8] = {'X', 'I', 'N', 'S', 'L', 'M', 'T', '1'};
  uint64_t id_bytes = 2;
  uint64_t tokens = 0;
  uint64_t documents = 0;
  uint64_t has_mask = 0;
  uint64_t checksum = 0;  ///< CRC-32 of what follows the header, then of the header with 0 here
  char key[64] = {};
  char reserved[16] = {};

  uint64_t padded_id_bytes() const { return (tokens * id_bytes + 7) / 8 * 8; }
  uint64_t file_size() const {
    return sizeof(TokenHeader) + padded_id_bytes() + 8 * (4 * documents + 1) + (has_mask ? (tokens + 7) / 8 : 0);
  }
  uint64_t checksum_with(uint64_t payload) const {
    TokenHeader blank = *this;
    blank.checksum = 0;
    return ::crc32_z(static_cast<uLong>(payload), reinterpret_cast<const Bytef*>(&blank), sizeof blank);
  }
};
static_assert(sizeof(TokenHeader) == 128);

}  // namespace xinslm
