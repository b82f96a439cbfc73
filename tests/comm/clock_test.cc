#include "comm/clock.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

TEST(ClockTest, ManualTimeStandsStillUntilAdvanced) {
  ManualClock clock;
  const Clock::Time begin = clock.Now();
  EXPECT_EQ(clock.Now(), begin);
  clock.Advance(std::chrono::milliseconds(1500));
  clock.Advance(std::chrono::nanoseconds(1));
  EXPECT_EQ(clock.Now() - begin, std::chrono::nanoseconds(1'500'000'001));
}

TEST(ClockTest, SteadyTimeIsThatOfTheSystem) {
  const SteadyClock clock;
  const auto before = std::chrono::steady_clock::now();
  const Clock::Time now = clock.Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, std::chrono::steady_clock::now());
}

}  // namespace
}  // namespace longspan
