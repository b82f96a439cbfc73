#include "runtime/engine/token_pace.h"

#include <chrono>

#include "gtest/gtest.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

Clock::Time At(int64_t ms) { return Clock::Time(milliseconds(ms)); }

TEST(ReleaseTimesTest, WithoutAPaceTokensLeaveAtOnce) {
  ReleaseTimes times;
  for (const int64_t ms : {5, 6, 40}) EXPECT_EQ(times.Next(At(ms), {}), At(ms));
}

TEST(ReleaseTimesTest, TokensThatComeEarlyWaitForTheEndOfTheirGap) {
  const TokenPace pace = {.gap = milliseconds(20), .most_held = milliseconds(20)};
  ReleaseTimes times;
  EXPECT_EQ(times.Next(At(100), pace), At(100));  // the first is not held
  EXPECT_EQ(times.Next(At(110), pace), At(120));
  EXPECT_EQ(times.Next(At(125), pace), At(140));
  EXPECT_EQ(times.Next(At(170), pace), At(170));  // late
  EXPECT_EQ(times.Next(At(171), pace), At(190));
  EXPECT_EQ(times.Next(At(172), pace), At(192));  // held for as long as allowed
}

TEST(ReleaseTimesTest, NoTokenOvertakesAnother) {
  ReleaseTimes times;
  const TokenPace pace = {.gap = milliseconds(20), .most_held = milliseconds(20)};
  times.Next(At(100), pace);
  EXPECT_EQ(times.Next(At(101), pace), At(120));
  EXPECT_EQ(times.Next(At(102), {}), At(120));
}

}  // namespace
}  // namespace longspan
