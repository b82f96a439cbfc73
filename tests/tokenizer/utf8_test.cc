#include "runtime/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

std::string Lossy(std::string_view bytes) {
  std::string text;
  EXPECT_EQ(AppendAsUtf8(bytes, /*at_end=*/true, &text), bytes.size());
  return text;
}

TEST(Utf8Test, EveryCharacterSurvives) {
  for (uint32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Step step = DecodeUtf8(text, 0);
    ASSERT_EQ(step.kind, Utf8Kind::kCharacter) << code;
    ASSERT_EQ(step.code, code);
    ASSERT_EQ(step.length, text.size());
    for (size_t part = 1; part < text.size(); ++part) {
      const Utf8Step unfinished = DecodeUtf8(std::string_view(text).substr(0, part), 0);
      ASSERT_EQ(unfinished.kind, Utf8Kind::kIncomplete) << code;
      ASSERT_EQ(unfinished.length, part);
    }
  }
}

// The table of Unicode's chapter 3.9, "U+FFFD substitution of maximal subparts".
TEST(Utf8Test, EachMaximalPartBecomesOneReplacement) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(Lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Lossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Lossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(Lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8Test, AnUnfinishedCharacterWaits) {
  std::string text;
  EXPECT_EQ(AppendAsUtf8("a\xE2\x82", /*at_end=*/false, &text), 1u);
  EXPECT_EQ(text, "a");
  EXPECT_EQ(AppendAsUtf8("\xE2\x82\xAC", /*at_end=*/false, &text), 3u);
  EXPECT_EQ(text, "a\xE2\x82\xAC");
}

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  EXPECT_FALSE(FindInvalidUtf8("").has_value());
  EXPECT_FALSE(FindInvalidUtf8("\xE2\x82\xAC \xF0\x9F\x99\x82").has_value());
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("\xE2\x82\xAC\xE2\x82"), 3u);
}

}  // namespace
}  // namespace longspan
