#include "xinslm/core/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace xinslm {
namespace {

TEST(Utf8, ReadsCharactersOfEveryLength) {
  const std::pair<const char*, uint32_t> characters[] = {{"a", 'a'},
                                                         {"\xC3\xBC", 0xFC},
                                                         {"\xE4\xB8\xAD", 0x4E2D},
                                                         {"\xF0\x9F\x98\x80", 0x1F600},
                                                         {"\xF4\x8F\xBF\xBF", 0x10FFFF}};
  for (const auto& [text, code] : characters) {
    const Utf8Character character = read_utf8(text);
    EXPECT_EQ(character.state, Utf8State::valid);
    EXPECT_EQ(character.code, code);
    EXPECT_EQ(character.length, std::string(text).size());
  }
}

TEST(Utf8, EveryBeginningOfACharacterIsIncomplete) {
  const std::string text = "\xF0\x9F\x98\x80";
  for (size_t length = 1; length < text.size(); ++length) {
    const Utf8Character character = read_utf8(std::string_view(text).substr(0, length));
    EXPECT_EQ(character.state, Utf8State::incomplete);
    EXPECT_EQ(character.length, length);
  }
}

TEST(Utf8, RejectsOverlongFormsSurrogatesAndTooLargeCodes) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3x", "\xE4\xB8x"}) {
    EXPECT_EQ(read_utf8(text).state, Utf8State::invalid) << text;
    EXPECT_FALSE(is_valid_utf8(text)) << text;
  }
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_FALSE(is_valid_utf8("a\xE4\xB8"));
}

TEST(Utf8, WhatIsBinaryIsDescribed) {
  using namespace std::string_literals;
  EXPECT_EQ(describe_binary("GGUF\0\0\1"s), "holds 2 NUL bytes, the first at byte 4");
  EXPECT_EQ(describe_binary("\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0"),
            "is not UTF-8: 72 % of its bytes belong to no character");
  EXPECT_NE(describe_binary("\xFF\xFEh\xC0i\xC1"), "");
  std::string noise;
  for (uint32_t i = 0, x = 1; i < 4096; ++i, x = x * 1664525 + 1013904223) noise += static_cast<char>(x >> 24 | 1);
  EXPECT_NE(describe_binary(noise), "");
}

TEST(Utf8, WhatIsTextIsNot) {
  EXPECT_EQ(describe_binary(""), "");
  EXPECT_EQ(describe_binary("Once upon a time"), "");
  EXPECT_EQ(describe_binary("\xE4\xB8\xAD\xF0\x9F\x98\x80"), "");
  EXPECT_EQ(describe_binary("un caf\xE9 cr\xE8me"), "");
  EXPECT_EQ(describe_binary("caf\xE9"), "");
  EXPECT_EQ(describe_binary("\xE4\xB8"), "") << "cut off inside a character";
}

}  // namespace
}  // namespace xinslm
