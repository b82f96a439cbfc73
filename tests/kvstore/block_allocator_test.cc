#include "kvstore/block_allocator.h"

#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace longspan {
namespace {

TEST(BlockAllocatorTest, HandsOutEveryPageOnceAndTheLowestFirst) {
  BlockAllocator allocator(4);
  for (int32_t page = 0; page < 4; ++page) EXPECT_EQ(allocator.Allocate(), page);
  EXPECT_EQ(allocator.num_free(), 0);
  EXPECT_EQ(allocator.in_use(), 4);
}

TEST(BlockAllocatorTest, ThePageFreedLastComesFirst) {
  BlockAllocator allocator(4);
  for (int i = 0; i < 4; ++i) allocator.Allocate();
  allocator.Free(1);
  allocator.Free(3);
  EXPECT_EQ(allocator.Allocate(), 3);
  EXPECT_EQ(allocator.Allocate(), 1);
}

TEST(BlockAllocatorTest, RandomUseNeverGivesAPageTwice) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    BlockAllocator allocator(1 + random() % 50);
    std::set<int32_t> held;
    for (int i = 0; i < 1000; ++i) {
      if (!held.empty() && (allocator.num_free() == 0 || random() % 2 == 0)) {
        const auto it = std::next(held.begin(), random() % held.size());
        allocator.Free(*it);
        held.erase(it);
      } else {
        const int32_t page = allocator.Allocate();
        ASSERT_TRUE(page >= 0 && page < allocator.capacity());
        ASSERT_TRUE(held.insert(page).second) << page;
      }
      ASSERT_EQ(allocator.in_use(), static_cast<int64_t>(held.size()));
    }
  }
}

TEST(BlockAllocatorDeathTest, StopsOnMisuse) {
  BlockAllocator allocator(1);
  EXPECT_DEATH(allocator.Free(0), "check failed");
  EXPECT_DEATH(allocator.Free(1), "check failed");
  EXPECT_DEATH(allocator.Free(-1), "check failed");
  allocator.Allocate();
  EXPECT_DEATH(allocator.Allocate(), "check failed");
}

}  // namespace
}  // namespace longspan
