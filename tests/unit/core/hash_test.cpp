#include "xinslm/core/hash.h"

#include <gtest/gtest.h>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace fs = std::filesystem;
using namespace xinslm;

namespace {

const std::string kTwoBlocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

// The vectors are those of NIST's "Examples with Intermediate Values" for SHA-256.
TEST(Sha256, GivesTheStandardVectors) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(kTwoBlocks), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheBytesAreCut) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t length : {0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 300}) {
    const std::string part = text.substr(0, length);
    for (size_t step : {1, 3, 63, 64, 65}) {
      Sha256 hash;
      for (size_t at = 0; at < length; at += step) hash.update(std::string_view(part).substr(at, step));
      EXPECT_EQ(hash.finish(), sha256(part)) << length << " bytes in steps of " << step;
    }
  }
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const fs::path path = fs::temp_directory_path() / "xinslm_hash_test";
  const std::string content((1 << 20) + 17, 'x');  // more than one read
  write_file(path, content);
  EXPECT_EQ(sha256_file(path), sha256(content));
  write_file(path, "");
  EXPECT_EQ(sha256_file(path), sha256(""));
  fs::remove(path);
}

TEST(Sha256, MissingFileIsADataErrorThatNamesIt) {
  for (const fs::path& path : {fs::path("no_such_file.txt"), fs::temp_directory_path()}) {
    try {
      sha256_file(path);
      FAIL() << "expected an error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
    }
  }
}

}  // namespace
