#include "launcher/option_parsers.h"

#include <gtest/gtest.h>

#include <limits>

namespace longspan {
namespace {

TEST(OptionParsersTest, SizesArePowersOf1024) {
  const ValueParser<int64_t> size = Size();
  EXPECT_EQ(size("1").value(), 1);
  EXPECT_EQ(size("4096").value(), 4096);
  EXPECT_EQ(size("1K").value(), 1024);
  EXPECT_EQ(size("3m").value(), 3 * 1024 * 1024);
  EXPECT_EQ(size("1.5G").value(), int64_t{3} << 29);
  EXPECT_EQ(size("2T").value(), int64_t{2} << 40);
}

TEST(OptionParsersTest, RefusesWhatIsNoSize) {
  const ValueParser<int64_t> size = Size();
  for (const char* text :
       {"", "K", "0", "-1", "1KB", "1 K", "1e3", "nan", "inf", "0x10", "9999999999T", "1.2.3", "+5"}) {
    const absl::StatusOr<int64_t> value = size(text);
    ASSERT_FALSE(value.ok()) << text;
    EXPECT_NE(value.status().message().find("powers of 1024"), absl::string_view::npos) << text;
  }
}

TEST(OptionParsersTest, WholeNumbersHaveBounds) {
  const ValueParser<int64_t> number = WholeNumber(2, 8);
  EXPECT_EQ(number("2").value(), 2);
  EXPECT_EQ(number("8").value(), 8);
  for (const char* text : {"1", "9", "", "x", "3.0", "99999999999999999999"})
    EXPECT_FALSE(number(text).ok()) << text;
  EXPECT_EQ(number("9").status().message(), "'9' is not a whole number from 2 to 8");
  const auto open = WholeNumber(1, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(open("0").status().message(), "'0' is not a whole number of at least 1");
}

TEST(OptionParsersTest, SeedsCoverAll64Bits) {
  EXPECT_EQ(UnsignedNumber()("18446744073709551615").value(), std::numeric_limits<uint64_t>::max());
  EXPECT_FALSE(UnsignedNumber()("-1").ok());
  EXPECT_FALSE(UnsignedNumber()("18446744073709551616").ok());
}

TEST(OptionParsersTest, RealNumbersAreFinite) {
  EXPECT_EQ(RealNumber()("-0.5").value(), -0.5);
  for (const char* text : {"", "a", "nan", "inf", "1e999"}) EXPECT_FALSE(RealNumber()(text).ok()) << text;
}

TEST(OptionParsersTest, OnOffTakesTheUsualWords) {
  for (const char* text : {"on", "TRUE", "yes", "1"}) EXPECT_TRUE(OnOff()(text).value()) << text;
  for (const char* text : {"off", "false", "No", "0"}) EXPECT_FALSE(OnOff()(text).value()) << text;
  EXPECT_FALSE(OnOff()("maybe").ok());
}

TEST(OptionParsersTest, ChoicesNameTheNearest) {
  const ValueParser<int> choice = OneOf<int>({{"auto", 0}, {"avx512", 1}, {"avx2", 2}, {"portable", 3}});
  EXPECT_EQ(choice("avx2").value(), 2);
  EXPECT_EQ(choice("avx51").status().message(),
            "'avx51' is not one of auto, avx512, avx2, portable; the nearest is avx512");
}

}  // namespace
}  // namespace longspan
