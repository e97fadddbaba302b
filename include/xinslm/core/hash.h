#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace xinslm {

/// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  void update(std::string_view bytes);
  /// The hash as 64 hexadecimal digits. Nothing may be added afterwards.
  std::string finish();

 private:
  void block(const uint8_t* bytes);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_ = {};
  uint64_t length_ = 0;  ///< bytes so far
};

/// SHA-256 of the bytes as 64 hexadecimal digits.
std::string sha256(std::string_view bytes);

/// SHA-256 of a file, read piece by piece. @throws Error(data) when it cannot be read
std::string sha256_file(const std::filesystem::path& path);

}  // namespace xinslm
