#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace longspan {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 4));

TEST_P(ThreadPoolTest, ManySmallLoopsDoEveryIndexOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  // Plain integers: a race between loops or within one is a finding of ThreadSanitizer.
  std::vector<int> done(97, 0);
  for (int loop = 1; loop <= 500; ++loop) {
    pool.For(static_cast<int64_t>(done.size()), 1 + loop % 5, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) ++done[static_cast<size_t>(i)];
    });
    ASSERT_EQ(std::count(done.begin(), done.end(), loop), 97) << "loop " << loop;
  }
}

TEST_P(ThreadPoolTest, ChunksAreMultiplesOfTheGrainAndThreadsAreNumbered) {
  ThreadPool pool(GetParam());
  for (int64_t count : {1, 7, 8, 63, 64, 1000}) {
    std::vector<int> thread_of(static_cast<size_t>(count), -1);
    pool.For(count, 8, [&](int64_t begin, int64_t end, int thread) {
      EXPECT_EQ(begin % 8, 0);
      EXPECT_TRUE(end == count || end % 8 == 0) << end;
      for (int64_t i = begin; i < end; ++i) thread_of[static_cast<size_t>(i)] = thread;
    });
    EXPECT_GE(*std::min_element(thread_of.begin(), thread_of.end()), 0);
    EXPECT_LT(*std::max_element(thread_of.begin(), thread_of.end()), GetParam());
  }
}

TEST_P(ThreadPoolTest, WorkersWakeAfterTheyWentToSleep) {
  ThreadPool pool(GetParam());
  int64_t sum = 0;
  for (int loop = 0; loop < 5; ++loop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::vector<int64_t> squares(64);
    pool.For(64, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) squares[static_cast<size_t>(i)] = i * i;
    });
    for (int64_t square : squares) sum += square;
  }
  EXPECT_EQ(sum, 5 * 63 * 64 * 127 / 6);
}

TEST_P(ThreadPoolTest, AnEmptyLoopCallsNothing) {
  ThreadPool pool(GetParam());
  bool called = false;
  pool.For(0, 1, [&](int64_t, int64_t, int) { called = true; });
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace longspan
