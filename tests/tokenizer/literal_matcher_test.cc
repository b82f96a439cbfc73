#include "runtime/tokenizer/literal_matcher.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

TEST(LiteralMatcherTest, TakesTheLeftmostThenTheLongest) {
  LiteralMatcher matcher;
  EXPECT_TRUE(matcher.empty());
  matcher.Add("bc", 1);
  matcher.Add("abcd", 2);
  matcher.Add("ab", 3);
  matcher.Add("ab", 4);
  EXPECT_FALSE(matcher.empty());

  const auto longest = matcher.Find("xabcde", 0);
  ASSERT_TRUE(longest.has_value());
  EXPECT_EQ(longest->begin, 1u);
  EXPECT_EQ(longest->end, 5u);
  EXPECT_EQ(longest->value, 2);

  // "abcd" begins but does not end here.
  const auto shorter = matcher.Find("xabce", 0);
  ASSERT_TRUE(shorter.has_value());
  EXPECT_EQ(shorter->value, 3);

  const auto later = matcher.Find("xabce", 2);
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->begin, 2u);
  EXPECT_EQ(later->value, 1);

  EXPECT_FALSE(matcher.Find("xabce", 3).has_value());
  EXPECT_FALSE(matcher.MatchAt("xab", 0).has_value());
  EXPECT_FALSE(matcher.Find("", 0).has_value());
}

TEST(LiteralMatcherTest, TakesBytesOfAnyValue) {
  LiteralMatcher matcher;
  matcher.Add(std::string_view("\x00\xFF", 2), 0);
  EXPECT_EQ(matcher.Find(std::string_view("\xFF\x00\xFF", 3), 0)->begin, 1u);
}

}  // namespace
}  // namespace longspan
