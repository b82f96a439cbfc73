#include "comm/backoff.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

using std::chrono::microseconds;

TEST(IdleBackoffTest, YieldsWhileTheAnswerMayComeAtOnce) {
  ManualClock clock;
  IdleBackoff backoff(clock);
  for (int poll = 0; poll < 1000; ++poll) EXPECT_EQ(backoff.NextSleep(), microseconds(0));
  clock.Advance(IdleBackoff::kSpin - microseconds(1));
  EXPECT_EQ(backoff.NextSleep(), microseconds(0));
}

TEST(IdleBackoffTest, ThenSleepsForLongerAndLonger) {
  ManualClock clock;
  IdleBackoff backoff(clock);
  clock.Advance(IdleBackoff::kSpin);
  for (const int expected_us : {50, 100, 200, 400, 800, 1000, 1000, 1000}) {
    EXPECT_EQ(backoff.NextSleep(), microseconds(expected_us));
  }
}

TEST(IdleBackoffTest, PauseSleepsAsLongAsItSays) {
  ManualClock clock;
  IdleBackoff backoff(clock);
  clock.Advance(IdleBackoff::kSpin);
  const auto begin = std::chrono::steady_clock::now();
  backoff.Pause();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, IdleBackoff::kFirstSleep);
}

}  // namespace
}  // namespace longspan
