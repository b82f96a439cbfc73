#include "runtime/generation/stop_text.h"

#include <gtest/gtest.h>

#include <random>

namespace longspan {
namespace {

TEST(StopTextTest, WithoutStopsEverythingPasses) {
  StopText text({});
  EXPECT_EQ(text.Append("abc"), "abc");
  EXPECT_EQ(text.Finish(), "");
  EXPECT_FALSE(text.stopped());
}

TEST(StopTextTest, CutsBeforeTheStopAndDropsTheRest) {
  StopText text({"\n\n"});
  EXPECT_EQ(text.Append("one\ntwo\n\nthree"), "one\ntwo");
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.Append("four"), "");
  EXPECT_EQ(text.Finish(), "");
}

TEST(StopTextTest, HoldsBackWhatMayBecomeAStop) {
  StopText text({"END"});
  EXPECT_EQ(text.Append("the E"), "the ");
  EXPECT_EQ(text.Append("N"), "");
  EXPECT_EQ(text.Append("E"), "EN");  // the new E may begin a stop
  EXPECT_EQ(text.Append("ND!"), "");
  EXPECT_TRUE(text.stopped());
}

TEST(StopTextTest, GivesBackWhatWasHeldWhenTheTextEnds) {
  StopText text({"END"});
  EXPECT_EQ(text.Append("wEN"), "w");
  EXPECT_EQ(text.Finish(), "EN");
  EXPECT_FALSE(text.stopped());
}

TEST(StopTextTest, TheStopThatBeginsFirstCuts) {
  StopText text({"bc", "abcd"});
  EXPECT_EQ(text.Append("xabcd"), "x");
  EXPECT_TRUE(text.stopped());
}

// However a text is cut into pieces, what is shown is the text before the first stop.
TEST(StopTextTest, PiecesDoNotMatter) {
  std::mt19937 random(20240817);
  const std::vector<std::string> stops = {"aab", "bb"};
  for (int trial = 0; trial < 2000; ++trial) {
    std::string whole;
    const size_t length = random() % 12;
    while (whole.size() < length) whole += static_cast<char>('a' + random() % 3);
    std::string expected = whole.substr(0, std::min(whole.find("aab"), whole.find("bb")));
    StopText text(stops);
    std::string shown;
    for (size_t begin = 0; begin < whole.size() && !text.stopped();) {
      const size_t count = 1 + random() % 3;
      shown += text.Append(std::string_view(whole).substr(begin, count));
      begin += count;
    }
    shown += text.Finish();
    ASSERT_EQ(shown, expected) << whole;
  }
}

}  // namespace
}  // namespace longspan
